// SPDX-License-Identifier: MIT
// Checks of the graphkit project. Exits 0 when all of them hold.
#include <iostream>

#include "graphkit/components.hpp"
#include "graphkit/named_graph.hpp"
#include "graphkit/shortest_paths.hpp"
#include "graphkit/traversal.hpp"

/// Counts and reports a condition that does not hold.
#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			++failures; \
			std::cerr << __FILE__ << ':' << __LINE__ << ": " << #condition << '\n'; \
		} \
	} while (false)

namespace {

int failures = 0;

/// Returns a description of an error, or an empty text when the action succeeds.
template <typename Action>
std::string describe(Action action) {
	try {
		action();
	} catch (const std::exception& error) {
		return error.what();
	}
	return "";
}

/// Checks the orders of traversal.
void check_traversal() {
	graphkit::NamedGraph graph = graphkit::parse_edges("a b\na c\nb d\nc d\nd e\n");
	const graphkit::NodeId start = graph.node("a");
	CHECK(graph.names(graphkit::depth_first_order(graph.graph(), start)) == "a b d e c");
	CHECK(graph.names(graphkit::breadth_first_order(graph.graph(), start)) == "a b c d e");
}

/// Checks that a topological order exists exactly when there is no cycle.
void check_topological_order() {
	graphkit::NamedGraph graph = graphkit::parse_edges("shirt tie\ntie jacket\ntrousers jacket\n");
	const auto order = graphkit::topological_order(graph.graph());
	CHECK(order && graph.names(*order) == "shirt trousers tie jacket");
	graph.connect("jacket", "shirt");
	CHECK(!graphkit::topological_order(graph.graph()));
}

/// Checks the distances and the paths that Dijkstra's algorithm finds.
void check_shortest_paths() {
	graphkit::NamedGraph graph = graphkit::parse_edges("a b 7\na c 2\nc b 3\nb d 1\nc d 8\ne a 1\n");
	const auto paths = graphkit::dijkstra(graph.graph(), graph.node("a"));
	CHECK(paths.distance_to(graph.node("d")) == 6.0);
	CHECK(graph.names(paths.path_to(graph.node("d")), " > ") == "a > c > b > d");
	CHECK(!paths.distance_to(graph.node("e")));
	CHECK(paths.path_to(graph.node("e")).empty());
	graphkit::Digraph<int> negative(2);
	negative.add_edge(0, 1, -1);
	CHECK(!describe([&negative] { graphkit::dijkstra(negative, 0); }).empty());
}

/// Checks that components come out after the ones that they lead to.
void check_components() {
	graphkit::NamedGraph graph = graphkit::parse_edges("a b\nb c\nc a\nc d\nd e\ne d\n");
	const auto components = graphkit::strong_components(graph.graph());
	CHECK(components.size() == 2);
	CHECK(graph.names(components[0]) == "d e");
	CHECK(graph.names(components[1]) == "a b c");
}

/// Checks that edges are read from text, and that malformed lines are named.
void check_text() {
	CHECK(graphkit::parse_edges("a b 2.5\nb a\n").graph().edges_from(0)[0].weight == 2.5);
	CHECK(describe([] { graphkit::parse_edges("a b\nc\n"); }) == "malformed edge in line 2");
}

}  // namespace

/// Runs every check.
int main() {
	check_traversal();
	check_topological_order();
	check_shortest_paths();
	check_components();
	check_text();
	std::cout << "graphkit: " << (failures == 0 ? "ok" : "failed") << '\n';
	return failures == 0 ? 0 : 1;
}
