// SPDX-License-Identifier: MIT
// Strongly connected components by Tarjan's algorithm.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "graphkit/digraph.hpp"

namespace graphkit {

/// Nodes that can all reach one another.
using Component = std::vector<NodeId>;

namespace detail {

/// The state of a run of Tarjan's algorithm.
template <typename Weight>
class Tarjan {
public:
	/// Prepares a run over a graph, which must outlive it.
	explicit Tarjan(const Digraph<Weight>& graph)
		: graph_(graph)
		, order_(graph.node_count(), kUnvisited)
		, low_(graph.node_count(), 0)
		, on_stack_(graph.node_count(), false) {}

	/// Returns the components, each after the components that it leads to.
	std::vector<Component> run() {
		for (NodeId node = 0; node < graph_.node_count(); ++node) {
			if (order_[node] == kUnvisited) {
				visit(node);
			}
		}
		return std::move(components_);
	}

private:
	static constexpr std::size_t kUnvisited = static_cast<std::size_t>(-1);

	/// Visits a node, and closes its component when the node is its root.
	void visit(NodeId node) {
		order_[node] = low_[node] = next_order_++;
		stack_.push_back(node);
		on_stack_[node] = true;
		for (const auto& edge : graph_.edges_from(node)) {
			if (order_[edge.target] == kUnvisited) {
				visit(edge.target);
				low_[node] = std::min(low_[node], low_[edge.target]);
			} else if (on_stack_[edge.target]) {
				low_[node] = std::min(low_[node], order_[edge.target]);
			}
		}
		if (low_[node] == order_[node]) {
			close_component(node);
		}
	}

	/// Moves the nodes down to `root` from the stack into a new component.
	void close_component(NodeId root) {
		Component component;
		do {
			component.push_back(stack_.back());
			on_stack_[stack_.back()] = false;
			stack_.pop_back();
		} while (component.back() != root);
		std::sort(component.begin(), component.end());
		components_.push_back(std::move(component));
	}

	const Digraph<Weight>& graph_;
	std::vector<std::size_t> order_;
	std::vector<std::size_t> low_;
	std::vector<bool> on_stack_;
	std::vector<NodeId> stack_;
	std::vector<Component> components_;
	std::size_t next_order_ = 0;
};

}  // namespace detail

/// Returns the strongly connected components, each after the ones that it leads to.
template <typename Weight>
std::vector<Component> strong_components(const Digraph<Weight>& graph) {
	return detail::Tarjan<Weight>(graph).run();
}

}  // namespace graphkit
