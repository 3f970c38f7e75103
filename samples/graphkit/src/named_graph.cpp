// SPDX-License-Identifier: MIT
#include "graphkit/named_graph.hpp"

#include <sstream>

namespace graphkit {

/// Returns the node with a name, and adds it when there is none.
NodeId NamedGraph::node(const std::string& name) {
	const auto [position, added] = ids_.try_emplace(name, names_.size());
	if (added) {
		names_.push_back(name);
		graph_.add_node();
	}
	return position->second;
}

/// Adds an edge between two nodes, and the nodes where they are missing.
void NamedGraph::connect(const std::string& source, const std::string& target, double weight) {
	const NodeId from = node(source);
	const NodeId to = node(target);
	graph_.add_edge(from, to, weight);
}

/// Returns the names of the given nodes, joined by a separator.
std::string NamedGraph::names(const std::vector<NodeId>& nodes, std::string_view separator) const {
	std::string text;
	for (const NodeId node : nodes) {
		if (!text.empty()) {
			text += separator;
		}
		text += names_.at(node);
	}
	return text;
}

/// Returns the graph of a text with one `source target weight` line for each edge.
NamedGraph parse_edges(std::string_view text) {
	NamedGraph graph;
	std::istringstream lines{std::string(text)};
	std::string line;
	for (int number = 1; std::getline(lines, line); ++number) {
		std::istringstream fields(line);
		std::string source;
		std::string target;
		double weight = 1.0;
		if (!(fields >> source)) {
			continue;
		}
		if (!(fields >> target) || !((fields >> std::ws).eof() || fields >> weight)) {
			throw std::invalid_argument("malformed edge in line " + std::to_string(number));
		}
		graph.connect(source, target, weight);
	}
	return graph;
}

}  // namespace graphkit
