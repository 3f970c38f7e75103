//! The project's macros: which of them say nothing that matters here, and what the others stand for.

use rustc_hash::FxHashMap;

use super::lexer::{Kind, Tokens, lex};
use super::source::Source;

/// A `#define`.
#[derive(Debug, Clone)]
pub(crate) struct Macro {
    /// The parameters of a function-like macro.
    pub(crate) parameters: Option<Vec<String>>,
    pub(crate) body: String,
    pub(crate) role: Role,
    /// The file that defines it.
    pub(crate) file: u32,
    /// Whether it counts only where nothing else has defined the name.
    pub(crate) default: bool,
}

/// What a macro does to the declarations around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing: it is empty or made of attributes and specifiers.
    Decoration,
    /// It opens or closes braces, or begins a template.
    Structure,
    /// It stands for one name.
    Name,
    /// Anything else.
    Other,
}

/// All macros of a project by name. Where there are several definitions the first counts.
#[derive(Debug, Default)]
pub(crate) struct Macros {
    table: FxHashMap<String, Macro>,
    /// Other definitions of the same names, by file.
    others: FxHashMap<String, Vec<Macro>>,
}

impl Macros {
    /// Reads the `#define` lines of all files.
    pub(crate) fn gather<'a>(files: impl Iterator<Item = (&'a str, &'a Tokens)>) -> Self {
        let mut table: FxHashMap<String, Macro> = FxHashMap::default();
        let mut others: FxHashMap<String, Vec<Macro>> = FxHashMap::default();
        for (file, (text, tokens)) in files.enumerate() {
            for define in &tokens.defines {
                let line = text.get(define.start as usize..define.end as usize).unwrap_or("");
                let Some((name, mut definition)) = read(line) else { continue };
                definition.file = file as u32;
                definition.default = define.default;
                match table.get_mut(&name) {
                    None => {
                        table.insert(name, definition);
                    }
                    Some(known)
                        if known.file != definition.file || known.body != definition.body =>
                    {
                        others.entry(name).or_default().push(definition)
                    }
                    Some(_) => {}
                }
            }
        }
        let mut macros = Self { table, others };
        macros.classify();
        macros
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Macro> {
        self.table.get(name)
    }

    /// The definition that a file sees: its own, else one of those that `sees` says it includes, else the first that
    /// stands in one of the `headers`.
    pub(crate) fn seen(
        &self,
        name: &str,
        file: u32,
        sees: impl Fn(u32) -> bool,
        headers: &[bool],
    ) -> Option<&Macro> {
        self.table.get(name)?;
        self.all(name)
            .find(|definition| definition.file == file)
            .or_else(|| self.all(name).find(|definition| sees(definition.file)))
            .or_else(|| self.all(name).find(|definition| headers[definition.file as usize]))
    }

    /// What takes the place of a default that one of the `headers` has seen: the definition of another header, for those
    /// who include that one first.
    pub(crate) fn instead(&self, name: &str, seen: &Macro, headers: &[bool]) -> Option<&Macro> {
        if !seen.default || !headers[seen.file as usize] {
            return None;
        }
        self.all(name).find(|other| !other.default && headers[other.file as usize])
    }

    /// All definitions of a name.
    fn all(&self, name: &str) -> impl Iterator<Item = &Macro> {
        self.table.get(name).into_iter().chain(self.others.get(name).into_iter().flatten())
    }

    /// The macros that stand for one name: (macro, name), in the macros' order.
    pub(crate) fn names(&self) -> Vec<(&str, &str)> {
        let mut names: Vec<(&str, &str)> = self
            .table
            .iter()
            .filter(|(_, definition)| definition.role == Role::Name)
            .map(|(name, definition)| (name.as_str(), definition.body.as_str()))
            .collect();
        names.sort_unstable();
        names
    }

    fn classify(&mut self) {
        let roles: Vec<(String, Role)> = self
            .table
            .iter()
            .map(|(name, definition)| (name.clone(), self.role(definition)))
            .collect();
        for (name, role) in roles {
            if let Some(definition) = self.table.get_mut(&name) {
                definition.role = role;
            }
            for definition in self.others.get_mut(&name).into_iter().flatten() {
                definition.role = role;
            }
        }
    }

    fn role(&self, definition: &Macro) -> Role {
        if definition.body.len() > 4096 {
            return Role::Other;
        }
        let tokens = lex(&definition.body);
        let source = Source::new(&definition.body, &tokens);
        if self.is_decoration(&source, 4) {
            return Role::Decoration;
        }
        if definition.parameters.is_none() {
            let structural = tokens.unbalanced.is_some() || source.kind(0) == Kind::Template;
            if structural {
                return Role::Structure;
            }
            if source.len() == 1 && source.kind(0) == Kind::Ident {
                return Role::Name;
            }
        }
        Role::Other
    }

    fn is_decoration(&self, source: &Source, depth: usize) -> bool {
        let mut i = 0;
        while i < source.len() {
            let past = source.past_attribute(i);
            if past > i {
                i = past;
                continue;
            }
            match source.kind(i) {
                Kind::Specifier
                | Kind::Static
                | Kind::Virtual
                | Kind::Volatile
                | Kind::Override
                | Kind::Final => i += 1,
                Kind::Extern => i += 1 + usize::from(source.kind(i + 1) == Kind::Str),
                Kind::Noexcept if source.kind(i + 1) == Kind::LParen => i = source.past(i + 1),
                Kind::Noexcept => i += 1,
                Kind::Throw if source.kind(i + 1) == Kind::LParen => i = source.past(i + 1),
                Kind::Ident => {
                    let name = source.text(i);
                    let nested = depth > 0
                        && self.table.get(name).is_some_and(|definition| {
                            let tokens = lex(&definition.body);
                            self.is_decoration(&Source::new(&definition.body, &tokens), depth - 1)
                        });
                    if !nested
                        && !matches!(
                            name,
                            "_Pragma" | "__pragma" | "__forceinline" | "__cdecl" | "__stdcall"
                        )
                    {
                        return false;
                    }
                    i += 1;
                    if source.kind(i) == Kind::LParen {
                        i = source.past(i);
                    }
                }
                _ => return false,
            }
        }
        true
    }
}

/// Name and definition of a `#define` line.
fn read(line: &str) -> Option<(String, Macro)> {
    let rest = line[1..].trim_start().strip_prefix("define")?.trim_start();
    let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let (name, mut rest) = rest.split_at(length);
    if name.is_empty() {
        return None;
    }
    let mut parameters = None;
    if let Some(inner) = rest.strip_prefix('(') {
        let close = inner.find(')')?;
        parameters = Some(
            inner[..close]
                .split(',')
                .map(|p| p.replace(['\\', '\n', '\r'], " ").trim().to_owned())
                .filter(|p| !p.is_empty())
                .collect(),
        );
        rest = &inner[close + 1..];
    }
    let body = rest.replace("\\\r\n", " ").replace("\\\n", " ").trim().to_owned();
    Some((name.to_owned(), Macro { parameters, body, role: Role::Other, file: 0, default: false }))
}

/// The text that a use of a function-like macro stands for; `None` if the arguments do not fit.
pub(crate) fn expand(
    definition: &Macro,
    parameters: &[String],
    arguments: &[&str],
) -> Option<String> {
    const LONGEST: usize = 64 * 1024;
    let variadic = parameters.last().is_some_and(|p| p.ends_with("..."));
    if definition.body.len() > LONGEST || (!variadic && arguments.len() > parameters.len()) {
        return None;
    }
    let tokens = lex(&definition.body);
    let source = Source::new(&definition.body, &tokens);
    let mut text = String::new();
    let mut pasted = false;
    for i in 0..source.len() {
        let word = source.text(i);
        if word == "#" {
            pasted = source.text(i + 1) == "#" && source.adjacent(i)
                || pasted && i > 0 && source.text(i - 1) == "#";
            continue;
        }
        if !pasted {
            text.push(' ');
        }
        pasted = false;
        let stringized = i > 0
            && source.text(i - 1) == "#"
            && !(i > 1 && source.text(i - 2) == "#")
            && source.text(i + 1) != "#";
        let place = parameters
            .iter()
            .position(|p| p == word || (word == "__VA_ARGS__" && p.ends_with("...")));
        match place {
            Some(_) if stringized => text.push_str("\"\""),
            Some(place) if parameters[place].ends_with("...") => {
                text.push_str(&arguments.get(place..).unwrap_or(&[]).join(","));
            }
            Some(place) => text.push_str(arguments.get(place).unwrap_or(&"")),
            None => text.push_str(word),
        }
        if text.len() > LONGEST {
            return None;
        }
    }
    Some(text)
}
