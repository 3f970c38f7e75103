// SPDX-License-Identifier: MIT
// graphkit: directed graphs, and the classic algorithms on them.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <vector>

namespace graphkit {

/// Numbers the nodes of a graph from zero.
typedef std::size_t NodeId;

/// An edge as seen from the node that it leaves.
template <typename Weight>
struct Edge {
	NodeId target;
	Weight weight;
};

/**
 * A directed graph with weighted edges, stored as adjacency lists.
 *
 * Nodes are never removed, so a NodeId stays valid as long as the graph.
 */
template <typename Weight = double>
class Digraph {
public:
	using edge_type = Edge<Weight>;

	/// Creates a graph with the given number of nodes and no edge.
	explicit Digraph(std::size_t node_count = 0) : edges_(node_count) {}

	/// Returns the number of nodes.
	std::size_t node_count() const noexcept { return edges_.size(); }

	/// Adds a node and returns its number.
	NodeId add_node() {
		edges_.emplace_back();
		return edges_.size() - 1;
	}

	/// Adds an edge from `source` to `target`.
	void add_edge(NodeId source, NodeId target, Weight weight = Weight{1}) {
		require_node(source);
		require_node(target);
		edges_[source].push_back({target, weight});
	}

	/// Returns the edges that leave a node, in the order they were added.
	const std::vector<edge_type>& edges_from(NodeId node) const {
		require_node(node);
		return edges_[node];
	}

private:
	/// Throws when the graph has no node with this number.
	void require_node(NodeId node) const {
		if (node >= edges_.size()) {
			throw std::out_of_range("graph has no such node");
		}
	}

	std::vector<std::vector<edge_type>> edges_;
};

}  // namespace graphkit
