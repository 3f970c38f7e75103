//! Directed graphs: adjacency, strongly connected components and dependency levels.

/// Adjacency lists, one after the other. Edges point from the one who uses to what is used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    /// Where the list of each node begins; one more at the end.
    starts: Vec<u32>,
    targets: Vec<u32>,
}

impl Graph {
    /// A graph of so many nodes. Repeated edges and those that leave the nodes are dropped.
    pub(crate) fn new(nodes: usize, mut edges: Vec<(u32, u32)>) -> Self {
        let inside = |node: u32| (node as usize) < nodes;
        edges.retain(|&(from, to)| inside(from) && inside(to));
        edges.sort_unstable();
        edges.dedup();
        let mut starts = vec![0u32; nodes + 1];
        for &(from, _) in &edges {
            starts[from as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        Self { starts, targets: edges.into_iter().map(|(_, to)| to).collect() }
    }

    /// Number of nodes.
    pub(crate) fn nodes(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Number of distinct edges.
    pub(crate) fn edges(&self) -> usize {
        self.targets.len()
    }

    /// What a node uses, ascending.
    pub(crate) fn targets(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.targets[self.starts[node] as usize..self.starts[node + 1] as usize]
    }

    /// Every edge, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let nodes = 0..self.nodes() as u32;
        nodes.flat_map(|from| self.targets(from).iter().map(move |&to| (from, to)))
    }

    /// The same edges the other way round.
    pub(crate) fn reversed(&self) -> Self {
        Self::new(self.nodes(), self.iter().map(|(from, to)| (to, from)).collect())
    }
}

/// The strongly connected components of a graph. What a component uses has a smaller number than itself.
#[derive(Debug)]
pub(crate) struct Condensation {
    /// Of every node.
    pub component_of: Vec<u32>,
    /// Of every component: 0 when it uses no other one, else one more than the highest level that it uses.
    pub levels: Vec<u32>,
}

impl Condensation {
    /// Tarjan's algorithm with a stack of its own: chains of calls are longer than a thread's stack.
    pub(crate) fn of(graph: &Graph) -> Self {
        let mut tarjan = Tarjan::new(graph);
        for node in 0..graph.nodes() as u32 {
            if tarjan.number[node as usize] == UNSEEN {
                tarjan.visit(node);
            }
        }
        let component_of = tarjan.component_of;
        let levels = levels(graph, &component_of, tarjan.components);
        Self { component_of, levels }
    }

    /// Number of components.
    pub(crate) fn components(&self) -> usize {
        self.levels.len()
    }

    /// Number of different levels.
    pub(crate) fn depth(&self) -> u64 {
        self.levels.iter().max().map_or(0, |level| u64::from(*level) + 1)
    }

    /// The level of a node's component.
    pub(crate) fn level(&self, node: u32) -> u32 {
        self.levels[self.component_of[node as usize] as usize]
    }
}

const UNSEEN: u32 = u32::MAX;

struct Tarjan<'a> {
    graph: &'a Graph,
    /// In the order of discovery.
    number: Vec<u32>,
    /// The smallest number that is known to be in the same component.
    low: Vec<u32>,
    /// `UNSEEN` while a node has none, so while it may still be on `open`.
    component_of: Vec<u32>,
    /// Nodes whose component is not complete.
    open: Vec<u32>,
    /// Nodes on the way from the start, and how many of their targets have been looked at.
    way: Vec<(u32, u32)>,
    seen: u32,
    components: u32,
}

impl<'a> Tarjan<'a> {
    fn new(graph: &'a Graph) -> Self {
        let nodes = graph.nodes();
        Self {
            graph,
            number: vec![UNSEEN; nodes],
            low: vec![UNSEEN; nodes],
            component_of: vec![UNSEEN; nodes],
            open: Vec::new(),
            way: Vec::new(),
            seen: 0,
            components: 0,
        }
    }

    fn visit(&mut self, start: u32) {
        self.enter(start);
        while let Some((node, looked_at)) = self.way.last_mut() {
            let (node, next) = (*node, *looked_at as usize);
            *looked_at += 1;
            match self.graph.targets(node).get(next) {
                Some(&target) if self.number[target as usize] == UNSEEN => self.enter(target),
                Some(&target) => {
                    if self.component_of[target as usize] == UNSEEN {
                        self.lower(node, self.number[target as usize]);
                    }
                }
                None => self.leave(node),
            }
        }
    }

    fn enter(&mut self, node: u32) {
        self.number[node as usize] = self.seen;
        self.low[node as usize] = self.seen;
        self.seen += 1;
        self.open.push(node);
        self.way.push((node, 0));
    }

    fn lower(&mut self, node: u32, to: u32) {
        let low = &mut self.low[node as usize];
        *low = (*low).min(to);
    }

    fn leave(&mut self, node: u32) {
        self.way.pop();
        let low = self.low[node as usize];
        if let Some(&(parent, _)) = self.way.last() {
            self.lower(parent, low);
        }
        if low != self.number[node as usize] {
            return;
        }
        while let Some(member) = self.open.pop() {
            self.component_of[member as usize] = self.components;
            if member == node {
                break;
            }
        }
        self.components += 1;
    }
}

fn levels(graph: &Graph, component_of: &[u32], components: u32) -> Vec<u32> {
    let between =
        graph.iter().map(|(from, to)| (component_of[from as usize], component_of[to as usize]));
    let between = Graph::new(components as usize, between.filter(|(a, b)| a != b).collect());
    let mut levels: Vec<u32> = Vec::with_capacity(components as usize);
    for component in 0..components {
        // Targets have smaller numbers, so their levels are known.
        let below = between.targets(component).iter().map(|&target| levels[target as usize] + 1);
        levels.push(below.max().unwrap_or(0));
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn condense(nodes: usize, edges: &[(u32, u32)]) -> Condensation {
        Condensation::of(&Graph::new(nodes, edges.to_vec()))
    }

    #[test]
    fn levels_count_what_lies_below() {
        let chain = condense(4, &[(0, 1), (1, 2), (0, 2)]);
        assert_eq!((0..4).map(|n| chain.level(n)).collect::<Vec<_>>(), [2, 1, 0, 0]);
        assert_eq!(chain.depth(), 3);
        assert_eq!(condense(0, &[]).depth(), 0);
    }

    #[test]
    fn a_cycle_is_one_component_and_keeps_the_levels_below_apart() {
        // 0 -> {1 <-> 2} -> 3 -> 3
        let graph = condense(4, &[(0, 1), (1, 2), (2, 1), (2, 3), (3, 3)]);
        assert_eq!(graph.components(), 3);
        assert_eq!(graph.component_of[1], graph.component_of[2]);
        assert_eq!((0..4).map(|n| graph.level(n)).collect::<Vec<_>>(), [2, 1, 1, 0]);
    }

    #[test]
    fn long_chains_and_long_cycles_need_no_deep_stack() {
        let nodes = 300_000u32;
        let mut edges: Vec<_> = (1..nodes).map(|n| (n - 1, n)).collect();
        let chain = condense(nodes as usize, &edges);
        assert_eq!(chain.depth(), u64::from(nodes));
        assert_eq!(chain.level(0), nodes - 1);
        edges.push((nodes - 1, 0));
        assert_eq!(condense(nodes as usize, &edges).components(), 1);
    }

    #[test]
    fn edges_to_nowhere_are_dropped() {
        let graph = Graph::new(2, vec![(0, 1), (0, 1), (0, 2), (9, 0)]);
        assert_eq!(graph.iter().collect::<Vec<_>>(), [(0, 1)]);
        assert_eq!(graph.reversed().iter().collect::<Vec<_>>(), [(1, 0)]);
        assert_eq!(graph.edges(), 1);
    }

    /// Which nodes can be reached from each, by brute force.
    fn reach(nodes: usize, edges: &[(u32, u32)]) -> Vec<Vec<bool>> {
        let mut reach = vec![vec![false; nodes]; nodes];
        edges.iter().for_each(|&(a, b)| reach[a as usize][b as usize] = true);
        for through in 0..nodes {
            for from in 0..nodes {
                for to in 0..nodes {
                    reach[from][to] |= reach[from][through] && reach[through][to];
                }
            }
        }
        reach
    }

    proptest! {
        #[test]
        fn components_are_what_reaches_one_another(
            edges in proptest::collection::vec((0u32..12, 0u32..12), 0..40)
        ) {
            let found = condense(12, &edges);
            let reach = reach(12, &edges);
            for (a, b) in (0..12).flat_map(|a| (0..12).map(move |b| (a, b))) {
                let together = a == b || (reach[a][b] && reach[b][a]);
                let same = found.component_of[a] == found.component_of[b];
                prop_assert_eq!(same, together);
                if reach[a][b] && !together {
                    prop_assert!(found.component_of[b] < found.component_of[a]);
                    prop_assert!(found.level(b as u32) < found.level(a as u32));
                }
            }
        }
    }
}
