// SPDX-License-Identifier: MIT
// Orders in which the nodes of a graph can be visited.
#pragma once

#include <optional>
#include <vector>

#include "graphkit/digraph.hpp"

namespace graphkit {
namespace detail {

/// Calls the visitor with a node and then, recursively, with the nodes that it leads to.
template <typename Weight, typename Visitor>
void visit_depth_first(
	const Digraph<Weight>& graph, NodeId node, std::vector<bool>& seen, Visitor& visitor) {
	seen.at(node) = true;
	visitor(node);
	for (const auto& edge : graph.edges_from(node)) {
		if (!seen[edge.target]) {
			visit_depth_first(graph, edge.target, seen, visitor);
		}
	}
}

}  // namespace detail

/// Returns the nodes reachable from `start`, each before the nodes found through it.
template <typename Weight>
std::vector<NodeId> depth_first_order(const Digraph<Weight>& graph, NodeId start) {
	std::vector<NodeId> order;
	std::vector<bool> seen(graph.node_count(), false);
	auto append = [&order](NodeId node) { order.push_back(node); };
	detail::visit_depth_first(graph, start, seen, append);
	return order;
}

/// Returns the nodes reachable from `start`, the nearest first.
template <typename Weight>
std::vector<NodeId> breadth_first_order(const Digraph<Weight>& graph, NodeId start) {
	std::vector<NodeId> order{start};
	std::vector<bool> seen(graph.node_count(), false);
	seen.at(start) = true;
	for (std::size_t next = 0; next < order.size(); ++next) {
		for (const auto& edge : graph.edges_from(order[next])) {
			if (!seen[edge.target]) {
				seen[edge.target] = true;
				order.push_back(edge.target);
			}
		}
	}
	return order;
}

/**
 * Returns the nodes in an order in which every edge points forward.
 *
 * This is Kahn's algorithm: it takes nodes without incoming edges until none
 * is left. Returns nothing when the graph has a cycle.
 */
template <typename Weight>
std::optional<std::vector<NodeId>> topological_order(const Digraph<Weight>& graph) {
	std::vector<std::size_t> incoming(graph.node_count(), 0);
	for (NodeId node = 0; node < graph.node_count(); ++node) {
		for (const auto& edge : graph.edges_from(node)) {
			++incoming[edge.target];
		}
	}
	std::vector<NodeId> order;
	for (NodeId node = 0; node < graph.node_count(); ++node) {
		if (incoming[node] == 0) {
			order.push_back(node);
		}
	}
	for (std::size_t next = 0; next < order.size(); ++next) {
		for (const auto& edge : graph.edges_from(order[next])) {
			if (--incoming[edge.target] == 0) {
				order.push_back(edge.target);
			}
		}
	}
	if (order.size() != graph.node_count()) {
		return std::nullopt;
	}
	return order;
}

}  // namespace graphkit
