// SPDX-License-Identifier: MIT
// Shortest paths by Dijkstra's algorithm.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

#include "graphkit/digraph.hpp"

namespace graphkit {

/// The shortest paths from one node to all others.
template <typename Weight>
class ShortestPaths {
public:
	/// Creates the state of a search that has reached only its start.
	ShortestPaths(std::size_t node_count, NodeId start)
		: start_(start), distances_(node_count), previous_(node_count, start) {
		distances_.at(start) = Weight{0};
	}

	/// Returns the distance of a node, or nothing when it cannot be reached.
	const std::optional<Weight>& distance_to(NodeId node) const { return distances_.at(node); }

	/// Returns the nodes from the start to `node`, or no node when there is no path.
	std::vector<NodeId> path_to(NodeId node) const {
		std::vector<NodeId> path;
		if (!distances_.at(node)) {
			return path;
		}
		for (NodeId step = node; step != start_; step = previous_[step]) {
			path.push_back(step);
		}
		path.push_back(start_);
		std::reverse(path.begin(), path.end());
		return path;
	}

	/// Records a path to `node` through `via`, and returns whether it is the shortest so far.
	bool improve(NodeId node, NodeId via, Weight distance) {
		std::optional<Weight>& known = distances_[node];
		if (known && *known <= distance) {
			return false;
		}
		known = distance;
		previous_[node] = via;
		return true;
	}

private:
	NodeId start_;
	std::vector<std::optional<Weight>> distances_;
	std::vector<NodeId> previous_;
};

/// Returns the shortest paths from `start`; no edge may have a negative weight.
template <typename Weight>
ShortestPaths<Weight> dijkstra(const Digraph<Weight>& graph, NodeId start) {
	using Entry = std::pair<Weight, NodeId>;
	ShortestPaths<Weight> paths(graph.node_count(), start);
	std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> queue;
	queue.push({Weight{0}, start});
	while (!queue.empty()) {
		const auto [distance, node] = queue.top();
		queue.pop();
		if (distance > *paths.distance_to(node)) {
			continue;
		}
		for (const auto& edge : graph.edges_from(node)) {
			if (edge.weight < Weight{0}) {
				throw std::invalid_argument("dijkstra needs weights that are not negative");
			}
			if (paths.improve(edge.target, node, distance + edge.weight)) {
				queue.push({distance + edge.weight, edge.target});
			}
		}
	}
	return paths;
}

}  // namespace graphkit
