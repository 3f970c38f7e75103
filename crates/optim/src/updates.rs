//! One optimizer step as a graph that changes parameters and state in place.

use kiln_graph::ops::{
    AdamWStep, CautiousDecayStep, HeadAxis, MuonMomentum, MuonNormalize, MuonOrthogonalize,
};
use kiln_graph::{DType, Graph, GraphError, TensorType, ValueId};

use crate::{Kind, OptimError, ParamGroup, Settings};

/// Numbers of attention heads, for Muon per head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heads {
    /// Query heads.
    pub n_head: usize,
    /// Key/value heads.
    pub n_kv_head: usize,
}

/// What of a step is not f32.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Precision {
    /// Element type of Muon's products.
    pub products: DType,
    /// Parameters of which other graphs read a bf16 copy, each with the name of the variable that holds it.
    pub copies: Vec<(String, String)>,
}

impl Precision {
    /// Everything is f32.
    pub const F32: Precision = Precision { products: DType::F32, copies: Vec::new() };
}

/// One step for all parameters: reads variables `{name}` and `grad.{name}`, the input `schedule` (see
/// [`Schedules::values`](crate::Schedules::values)), and replaces `{name}` and the state: `adamw.m.{name}` and
/// `adamw.v.{name}`, or `muon.momentum.{name}` and `muon.second.{name}`, all of which begin as zeros. The copies that
/// `precision` names are made anew.
///
/// # Errors
/// When settings are out of range, or heads do not divide a matrix.
pub fn optimizer_graph(
    groups: &[ParamGroup],
    heads: Heads,
    settings: &Settings,
    precision: &Precision,
) -> Result<Graph, OptimError> {
    settings.validate()?;
    let mut graph = Graph::new();
    let schedule = graph.schedule_input();
    let mut updates = Updates { graph: &mut graph, schedule, heads, settings, precision };
    for group in groups {
        match group.kind {
            Kind::AdamW { lr } => updates.adamw(group, lr)?,
            Kind::Muon { lr } => updates.muon(group, lr)?,
        }
    }
    Ok(graph)
}

/// Makes variable `copy` hold a value rounded to bf16 after the run.
///
/// # Errors
/// When the value is no f32, or the copy is made a second time.
pub fn refresh_copy(graph: &mut Graph, value: ValueId, copy: &str) -> Result<(), GraphError> {
    let rounded = graph.cast(value, DType::Bf16)?;
    let held = graph.variable(copy, graph.tensor_type(rounded));
    graph.update(held, rounded)
}

struct Updates<'a> {
    graph: &'a mut Graph,
    schedule: ValueId,
    heads: Heads,
    settings: &'a Settings,
    precision: &'a Precision,
}

impl Updates<'_> {
    fn state(&mut self, kind: &str, group: &ParamGroup, ty: TensorType) -> ValueId {
        self.graph.variable(&format!("{kind}.{}", group.name), ty)
    }

    fn parameter_and_gradient(&mut self, group: &ParamGroup) -> (ValueId, ValueId) {
        (self.graph.variable(&group.name, group.ty), self.state("grad", group, group.ty))
    }

    /// Replaces a parameter and its copy, where it has one.
    fn replace(&mut self, group: &ParamGroup, w: ValueId, new: ValueId) -> Result<(), GraphError> {
        self.graph.update(w, new)?;
        match self.precision.copies.iter().find(|(parameter, _)| *parameter == group.name) {
            Some((_, copy)) => refresh_copy(self.graph, new, copy),
            None => Ok(()),
        }
    }

    fn adamw(&mut self, group: &ParamGroup, lr: f64) -> Result<(), GraphError> {
        let (w, gradient) = self.parameter_and_gradient(group);
        let m = self.state("adamw.m", group, group.ty);
        let v = self.state("adamw.v", group, group.ty);
        let step = AdamWStep {
            lr,
            beta1: self.settings.adam_beta1,
            beta2: self.settings.adam_beta2,
            eps: self.settings.adam_eps,
            weight_decay: self.settings.adam_weight_decay,
        };
        let new = self.graph.push(step, &[w, gradient, m, v, self.schedule])?;
        self.replace(group, w, new[0])?;
        self.graph.update(m, new[1])?;
        self.graph.update(v, new[2])
    }

    fn muon(&mut self, group: &ParamGroup, lr: f64) -> Result<(), GraphError> {
        let (w, gradient) = self.parameter_and_gradient(group);
        let momentum = self.state("muon.momentum", group, group.ty);
        let second = self.state("muon.second", group, MuonNormalize::second_moment(&group.ty));
        let new = self.graph.push(MuonMomentum, &[gradient, momentum, self.schedule])?;
        self.graph.update(momentum, new[1])?;
        let (heads, axis) = self.split(&group.name);
        let (method, steps) = (self.settings.muon.into(), self.settings.muon_steps);
        let dtype = self.precision.products;
        let op = MuonOrthogonalize { method, steps, heads, axis, dtype };
        let x = self.graph.push(op, &[new[0]])?[0];
        let normalize = MuonNormalize { beta2: self.settings.muon_beta2 };
        let new = self.graph.push(normalize, &[x, second])?;
        self.graph.update(second, new[1])?;
        let new = self.graph.push(CautiousDecayStep { lr }, &[w, new[0], self.schedule])?[0];
        self.replace(group, w, new)
    }

    /// Into how many parts a matrix is orthogonalised, and along which axis.
    fn split(&self, name: &str) -> (usize, HeadAxis) {
        let Heads { n_head, n_kv_head } = self.heads;
        let attention = name.strip_suffix(".weight").and_then(|n| n.rsplit_once(".attn."));
        match attention.map(|(_, weight)| weight).filter(|_| self.settings.muon_per_head) {
            Some("c_q") => (n_head, HeadAxis::Rows),
            Some("c_k" | "c_v") => (n_kv_head, HeadAxis::Rows),
            Some("c_proj") => (n_head, HeadAxis::Columns),
            _ => (1, HeadAxis::Rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_graph::{Op, Place, Plan};

    use super::*;
    use crate::{MuonMethod, groups};

    const HEADS: Heads = Heads { n_head: 4, n_kv_head: 2 };

    fn example(settings: &Settings) -> Result<Graph, OptimError> {
        example_with(settings, &Precision::F32)
    }

    fn example_with(settings: &Settings, precision: &Precision) -> Result<Graph, OptimError> {
        let parameters = [
            ("transformer.wte.weight", TensorType::f32(&[128, 64])),
            ("resid_lambdas", TensorType::f32(&[3])),
            ("transformer.h.0.attn.c_q.weight", TensorType::f32(&[64, 64])),
            ("transformer.h.0.attn.c_k.weight", TensorType::f32(&[32, 64])),
            ("transformer.h.0.attn.c_v.weight", TensorType::f32(&[32, 64])),
            ("transformer.h.0.attn.c_proj.weight", TensorType::f32(&[64, 64])),
            ("transformer.h.0.mlp.c_proj.weight", TensorType::f32(&[64, 256])),
            ("transformer.h.0.attn.ve_gate.weight", TensorType::f32(&[2, 12])),
        ]
        .map(|(name, ty)| (name.to_owned(), ty));
        let groups = groups(&parameters, 64, 1 << 14, settings);
        optimizer_graph(&groups, HEADS, settings, precision)
    }

    fn splits(settings: &Settings) -> Vec<(usize, HeadAxis)> {
        let graph = example(settings).unwrap();
        let split = |node: &kiln_graph::Node| match &node.op {
            Op::MuonOrthogonalize(op) => Some((op.heads, op.axis)),
            _ => None,
        };
        graph.nodes().iter().filter_map(split).collect()
    }

    #[test]
    fn everything_is_updated_in_place() {
        let graph = example(&Settings::default()).unwrap();
        let plan = Plan::new(&graph, &|_, _| 0).unwrap();
        // 2 AdamW steps, and 4 ops for each of 6 matrices; no copies.
        assert_eq!(plan.steps().len(), 2 + 6 * 4);
        for step in plan.steps() {
            let changes = |op: &Op| {
                matches!(op, Op::AdamWStep(_) | Op::MuonMomentum(_) | Op::CautiousDecayStep(_))
            };
            let op = step.op.as_ref().expect("a variable is copied");
            if changes(op) {
                let last = step.outputs.last().unwrap().0;
                assert!(matches!(last, Place::Variable(_, 0)), "{}", op.name());
            }
        }
        for variable in graph.variables() {
            let gradient = variable.name.starts_with("grad.");
            assert_eq!(variable.update.is_none(), gradient, "{}", variable.name);
        }
        // No more working memory than the largest matrix.
        assert_eq!(plan.arena_bytes(), 64 * 256 * 4);
    }

    #[test]
    fn copies_are_made_of_new_values_right_where_they_lie() {
        let names = ["transformer.wte.weight", "transformer.h.0.mlp.c_proj.weight"];
        let precision = Precision {
            products: DType::Bf16,
            copies: names.map(|n| (n.to_owned(), format!("half.{n}"))).to_vec(),
        };
        let graph = example_with(&Settings::default(), &precision).unwrap();
        let plan = Plan::new(&graph, &|_, _| 0).unwrap();
        let variables: Vec<&str> = plan.variables().iter().map(|(n, _)| n.as_str()).collect();
        let name = |place: Place| match place {
            Place::Variable(i, 0) => variables[i],
            other => panic!("{other:?} is no variable"),
        };
        let mut copied = Vec::new();
        let mut updated = Vec::new();
        for step in plan.steps() {
            match step.op.as_ref().expect("a variable is copied") {
                Op::Cast(cast) => {
                    assert_eq!(cast.dtype, DType::Bf16);
                    let (from, to) = (name(step.inputs[0].0), name(step.outputs[0].0));
                    assert!(updated.contains(&from), "{from} is copied before it changes");
                    assert_eq!(to, format!("half.{from}"));
                    copied.push(from);
                }
                Op::AdamWStep(_) | Op::CautiousDecayStep(_) => {
                    updated.push(name(step.outputs[0].0));
                }
                Op::MuonOrthogonalize(op) => assert_eq!(op.dtype, DType::Bf16),
                _ => {}
            }
        }
        assert_eq!(copied, names);
        assert_eq!(plan.arena_bytes(), 64 * 256 * 4);
    }

    #[test]
    fn state_has_its_names_and_shapes() {
        let graph = example(&Settings::default()).unwrap();
        let ty = |name: &str| {
            let found = graph.variables().iter().find(|v| v.name == name);
            graph.tensor_type(found.unwrap_or_else(|| panic!("{name}")).value)
        };
        assert_eq!(ty("adamw.m.resid_lambdas"), TensorType::f32(&[3]));
        assert_eq!(ty("adamw.v.transformer.wte.weight"), TensorType::f32(&[128, 64]));
        let name = "transformer.h.0.mlp.c_proj.weight";
        assert_eq!(ty(&format!("muon.momentum.{name}")), TensorType::f32(&[64, 256]));
        assert_eq!(ty(&format!("muon.second.{name}")), TensorType::f32(&[256]));
        assert_eq!(ty(&format!("grad.{name}")), TensorType::f32(&[64, 256]));
    }

    #[test]
    fn heads_are_split_only_when_asked_for() {
        assert_eq!(splits(&Settings::default()), [(1, HeadAxis::Rows); 6]);
        let per_head = Settings { muon_per_head: true, ..Settings::default() };
        assert_eq!(
            splits(&per_head),
            [
                (4, HeadAxis::Rows),
                (2, HeadAxis::Rows),
                (2, HeadAxis::Rows),
                (4, HeadAxis::Columns),
                (1, HeadAxis::Rows),
                (1, HeadAxis::Rows),
            ]
        );
    }

    #[test]
    fn settings_reach_the_ops() {
        let settings = Settings {
            muon: MuonMethod::NewtonSchulz,
            muon_steps: 3,
            adam_weight_decay: 0.1,
            ..Settings::default()
        };
        let graph = example(&settings).unwrap();
        for node in graph.nodes() {
            match &node.op {
                Op::MuonOrthogonalize(op) => {
                    assert_eq!(op.method, kiln_graph::ops::Orthogonalization::NewtonSchulz);
                    assert_eq!(op.steps, 3);
                }
                Op::AdamWStep(op) => assert_eq!(op.weight_decay, 0.1),
                _ => {}
            }
        }
        let settings = Settings { muon_steps: 0, ..settings };
        assert!(matches!(example(&settings), Err(OptimError::Setting { .. })));
    }
}
