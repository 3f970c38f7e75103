//! Small parsed projects for tests, built by hand.

use kiln_index::{Definition, DefinitionId, DefinitionKind, File, FileId, Parser, Project};

/// Adds files, definitions and calls one by one.
pub(crate) struct Builder(Project);

impl Builder {
    pub(crate) fn new() -> Self {
        Self(Project {
            parser: Parser::TreeSitter,
            files: Vec::new(),
            definitions: Vec::new(),
            calls: Vec::new(),
            units: 0,
            units_with_errors: 0,
            errors: 0,
            failures: Vec::new(),
        })
    }

    /// A file that begins with a preamble.
    pub(crate) fn file(&mut self, name: &str, preamble: &str) -> FileId {
        let range = 0..preamble.len();
        let preambles = if preamble.is_empty() { Vec::new() } else { vec![range] };
        let text = preamble.to_owned();
        self.0.files.push(File { name: name.to_owned(), text, preamble: preambles });
        self.0.files.len() as FileId - 1
    }

    /// Text outside definitions.
    pub(crate) fn text(&mut self, file: FileId, text: &str) -> &mut Self {
        self.0.files[file as usize].text.push_str(text);
        self
    }

    /// Preamble at the end of the file so far.
    pub(crate) fn preamble(&mut self, file: FileId, text: &str) -> &mut Self {
        let range = self.append(file, text);
        self.0.files[file as usize].preamble.push(range);
        self
    }

    /// A function at the end of the file so far.
    pub(crate) fn function(&mut self, file: FileId, name: &str, text: &str) -> DefinitionId {
        self.define(file, DefinitionKind::Function, name, text)
    }

    /// A class at the end of the file so far.
    pub(crate) fn class(&mut self, file: FileId, name: &str, text: &str) -> DefinitionId {
        self.define(file, DefinitionKind::Class, name, text)
    }

    /// An out-of-line member at the end of the file so far.
    pub(crate) fn member(
        &mut self,
        file: FileId,
        class: DefinitionId,
        name: &str,
        text: &str,
    ) -> DefinitionId {
        let id = self.define(file, DefinitionKind::Method, name, text);
        self.0.definitions[id as usize].class = Some(class);
        id
    }

    /// The last definition has this comment, which stands at the end of the file so far and before its text.
    pub(crate) fn documented(
        &mut self,
        file: FileId,
        doc: &str,
        name: &str,
        text: &str,
    ) -> DefinitionId {
        let doc = self.append(file, doc);
        let id = self.function(file, name, text);
        self.0.definitions[id as usize].doc = Some(doc);
        id
    }

    /// A definition within the text of another one.
    pub(crate) fn inner(&mut self, outer: DefinitionId, name: &str, text: &str) -> DefinitionId {
        let Definition { file, extent, .. } = self.0.definitions[outer as usize].clone();
        let whole = &self.0.files[file as usize].text;
        let at = extent.start + whole[extent].find(text).expect("the outer text has the inner");
        let range = at..at + text.len();
        self.push(file, DefinitionKind::Method, name, range)
    }

    /// One function uses another.
    pub(crate) fn call(&mut self, caller: DefinitionId, callee: DefinitionId) -> &mut Self {
        self.0.calls.push((caller, callee));
        self
    }

    /// The project.
    pub(crate) fn finish(mut self) -> Project {
        self.0.calls.sort_unstable();
        self.0.calls.dedup();
        self.0
    }

    fn append(&mut self, file: FileId, text: &str) -> std::ops::Range<usize> {
        let whole = &mut self.0.files[file as usize].text;
        let start = whole.len();
        whole.push_str(text);
        start..whole.len()
    }

    fn define(
        &mut self,
        file: FileId,
        kind: DefinitionKind,
        name: &str,
        text: &str,
    ) -> DefinitionId {
        let range = self.append(file, text);
        self.push(file, kind, name, range.start..range.start + text.trim_end().len())
    }

    fn push(
        &mut self,
        file: FileId,
        kind: DefinitionKind,
        name: &str,
        extent: std::ops::Range<usize>,
    ) -> DefinitionId {
        let before = &self.0.files[file as usize].text[..extent.start];
        let line = before.bytes().filter(|byte| *byte == b'\n').count() as u32 + 1;
        self.0.definitions.push(Definition {
            key: format!("{name}#{}", self.0.definitions.len()),
            kind,
            qualified_name: name.to_owned(),
            file,
            line,
            body: extent.clone(),
            extent,
            doc: None,
            class: None,
            from_macro: false,
        });
        self.0.definitions.len() as DefinitionId - 1
    }
}
