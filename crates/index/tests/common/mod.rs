//! Projects made of strings.

use kiln_index::{Definition, InputFile, Project, ProjectInput, tree_sitter};

/// Parses files given as (name, text).
pub fn parse(files: &[(&str, &str)]) -> Project {
    let files = files
        .iter()
        .map(|&(name, text)| InputFile { name: name.to_owned(), text: text.to_owned() })
        .collect();
    tree_sitter::parse(ProjectInput { root: "project".into(), files })
}

#[allow(dead_code, reason = "not every test file asks")]
/// The first definition of that qualified name.
pub fn named<'p>(project: &'p Project, name: &str) -> &'p Definition {
    let found = project.definitions.iter().find(|d| d.qualified_name == name);
    found.unwrap_or_else(|| panic!("no definition of {name}"))
}

/// The functions' qualified names, in order.
pub fn functions(project: &Project) -> Vec<&str> {
    let functions = project.definitions.iter().filter(|d| d.kind.is_function());
    functions.map(|d| d.qualified_name.as_str()).collect()
}

#[allow(dead_code, reason = "not every test file asks")]
/// Calls as `caller -> key of the callee`.
pub fn calls(project: &Project) -> Vec<String> {
    let name = |id: u32| &project.definitions[id as usize];
    let calls = project.calls.iter();
    calls.map(|&(a, b)| format!("{} -> {}", name(a).qualified_name, name(b).key)).collect()
}

/// The text of a definition's extent.
#[allow(dead_code, reason = "not every test file asks")]
pub fn text<'p>(project: &'p Project, definition: &Definition) -> &'p str {
    &project.files[definition.file as usize].text[definition.extent.clone()]
}
