// SPDX-License-Identifier: MIT
// A graph whose nodes have names, and which can be read from text.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graphkit/digraph.hpp"

namespace graphkit {

/// A directed graph whose nodes are found by name.
class NamedGraph {
public:
	NamedGraph() = default;

	NodeId node(const std::string& name);
	void connect(const std::string& source, const std::string& target, double weight = 1.0);

	/// Returns the graph without the names.
	const Digraph<double>& graph() const noexcept { return graph_; }

	/// Returns the names of the given nodes, joined by a separator.
	std::string names(const std::vector<NodeId>& nodes, std::string_view separator = " ") const;

private:
	Digraph<double> graph_;
	std::vector<std::string> names_;
	std::map<std::string, NodeId> ids_;
};

/// Returns the graph of a text with one `source target weight` line for each edge.
NamedGraph parse_edges(std::string_view text);

}  // namespace graphkit
