//! The declarations of one file, read off the grammar's tree of its skeleton. Types, parameters and names stay ranges
//! of tokens: they mean something only once all files are known.

use tree_sitter::{Node, Parser};

use super::lexer::Kind;
use super::skeleton::Skeleton;
use super::source::Source;

/// A half-open range of tokens.
pub(crate) type Range = (u32, u32);

/// A namespace or class with a body; the file itself is number 0.
#[derive(Debug, Clone)]
pub(crate) struct RawScope {
    pub(crate) parent: u32,
    pub(crate) kind: RawScopeKind,
}

#[derive(Debug, Clone)]
pub(crate) enum RawScopeKind {
    File,
    Namespace {
        name: String,
        inline: bool,
    },
    /// Index into [`Declarations::classes`].
    Class(u32),
    /// A function with local classes; index into [`Declarations::functions`].
    Function(u32),
}

/// A class with or without a body.
#[derive(Debug, Clone)]
pub(crate) struct RawClass {
    pub(crate) scope: u32,
    pub(crate) start: u32,
    pub(crate) name: Range,
    pub(crate) bases: Range,
    pub(crate) template: Option<u32>,
    /// Opening and closing brace.
    pub(crate) body: Option<Range>,
}

#[derive(Debug, Clone)]
pub(crate) struct RawFunction {
    pub(crate) scope: u32,
    pub(crate) start: u32,
    /// The first token of the return type.
    pub(crate) result: u32,
    /// With qualifiers, up to the parameters' `(`.
    pub(crate) name: Range,
    pub(crate) body: Option<Range>,
    pub(crate) initialisers: Option<u32>,
    pub(crate) template: Option<u32>,
    pub(crate) friend: bool,
    pub(crate) from_macro: bool,
}

/// A variable or data member.
#[derive(Debug, Clone)]
pub(crate) struct RawVariable {
    pub(crate) scope: u32,
    pub(crate) result: u32,
    pub(crate) name: Range,
}

/// `using Name = target;` or `typedef target Name;`
#[derive(Debug, Clone)]
pub(crate) struct RawAlias {
    pub(crate) scope: u32,
    pub(crate) name: u32,
    /// `(1, 0)` is a function or a pointer to one, `(0, 0)` an array.
    pub(crate) target: Range,
    pub(crate) template: Option<u32>,
}

/// `using path;`, `using namespace path;`, or `namespace name = path;`
#[derive(Debug, Clone)]
pub(crate) struct RawUsing {
    pub(crate) scope: u32,
    pub(crate) path: Range,
    pub(crate) kind: RawUsingKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawUsingKind {
    Name,
    Namespace,
    /// The token of the new name.
    Alias(u32),
}

#[derive(Debug, Clone)]
pub(crate) struct RawEnum {
    pub(crate) scope: u32,
    pub(crate) start: u32,
    pub(crate) name: Option<u32>,
    /// Opening and closing brace.
    pub(crate) body: Range,
    pub(crate) scoped: bool,
}

/// What one file declares, in its order.
#[derive(Debug, Default)]
pub(crate) struct Declarations {
    pub(crate) scopes: Vec<RawScope>,
    pub(crate) classes: Vec<RawClass>,
    pub(crate) functions: Vec<RawFunction>,
    pub(crate) variables: Vec<RawVariable>,
    pub(crate) aliases: Vec<RawAlias>,
    pub(crate) usings: Vec<RawUsing>,
    pub(crate) enums: Vec<RawEnum>,
    /// Places of the skeleton that the grammar could not read.
    pub(crate) errors: u64,
}

/// Parses the skeleton and reads its declarations.
pub(crate) fn declarations(
    parser: &mut Parser,
    source: Source,
    skeleton: &Skeleton,
) -> Declarations {
    let mut reader = Reader { source, skeleton, out: Declarations::default(), depth: 0 };
    reader.out.scopes.push(RawScope { parent: 0, kind: RawScopeKind::File });
    if let Some(tree) = parser.parse(&skeleton.text, None) {
        reader.children(tree.root_node(), Context::default());
    }
    reader.out
}

/// What surrounds a declaration.
#[derive(Debug, Clone, Copy, Default)]
struct Context {
    scope: u32,
    template: Option<u32>,
    friend: bool,
}

struct Reader<'a> {
    source: Source<'a>,
    skeleton: &'a Skeleton,
    out: Declarations,
    depth: usize,
}

impl Reader<'_> {
    fn children(&mut self, node: Node, context: Context) {
        const DEEPEST: usize = 400;
        if self.depth >= DEEPEST {
            return;
        }
        self.depth += 1;
        let mut cursor = node.walk();
        if cursor.goto_first_child() {
            loop {
                if cursor.node().is_named() {
                    self.visit(cursor.node(), context);
                }
                if !cursor.goto_next_sibling() {
                    break;
                }
            }
        }
        self.depth -= 1;
    }

    fn visit(&mut self, node: Node, context: Context) {
        match node.kind() {
            "declaration_list" | "field_declaration_list" => self.children(node, context),
            "ERROR" => {
                self.out.errors += 1;
                self.children(node, context);
            }
            "linkage_specification" => {
                if let Some(body) = node.child_by_field_name("body") {
                    self.visit(body, context);
                }
            }
            "namespace_definition" => self.namespace(node, context),
            "template_declaration" => {
                let template = Some(self.token(node.start_byte()));
                self.children(node, Context { template: context.template.or(template), ..context });
            }
            "friend_declaration" => self.children(node, Context { friend: true, ..context }),
            "class_specifier" | "struct_specifier" | "union_specifier" => self.class(node, context),
            "enum_specifier" => self.enumeration(node, context),
            "function_definition" | "declaration" | "field_declaration" => {
                self.declaration(node, context)
            }
            "alias_declaration" => self.alias(node, context),
            "type_definition" => self.typedef(node, context),
            "using_declaration" => self.using(node, context),
            "namespace_alias_definition" => self.namespace_alias(node, context),
            _ => {}
        }
    }

    fn token(&self, byte: usize) -> u32 {
        self.skeleton.token(byte).min(self.source.len()) as u32
    }

    /// The tokens from the node's first to its last.
    fn range(&self, node: Node) -> Range {
        (self.token(node.start_byte()), self.skeleton.last_token(node.end_byte()) as u32 + 1)
    }

    fn start(&self, node: Node) -> u32 {
        self.skeleton.start_of(self.skeleton.token(node.start_byte())) as u32
    }

    fn braces(&self, body: Node) -> Range {
        let open = self.token(body.start_byte());
        let mate = self.source.mate(open as usize);
        let close = if mate == open as usize { self.source.len().saturating_sub(1) } else { mate };
        (open, close as u32)
    }

    fn namespace(&mut self, node: Node, context: Context) {
        let Some(body) = node.child_by_field_name("body") else {
            return;
        };
        let name = node
            .child_by_field_name("name")
            .and_then(|name| self.skeleton.text.get(name.byte_range()))
            .unwrap_or("");
        let inline = node.child(0).is_some_and(|first| first.kind() == "inline");
        let mut scope = context.scope;
        for part in name.split("::") {
            let name = part.trim().trim_start_matches("inline ").trim().to_owned();
            self.out
                .scopes
                .push(RawScope { parent: scope, kind: RawScopeKind::Namespace { name, inline } });
            scope = self.out.scopes.len() as u32 - 1;
        }
        self.visit(body, Context { scope, ..Context::default() });
    }

    fn class(&mut self, node: Node, context: Context) {
        let name = node.child_by_field_name("name").map_or((0, 0), |name| self.range(name));
        let body = node.child_by_field_name("body");
        if body.is_none() && name.0 == name.1 {
            return;
        }
        let mut cursor = node.walk();
        let bases = node
            .children(&mut cursor)
            .find(|child| child.kind() == "base_class_clause")
            .map(|clause| {
                (
                    self.token(clause.start_byte()) + 1,
                    body.map_or(0, |b| self.token(b.start_byte())),
                )
            });
        self.out.classes.push(RawClass {
            scope: context.scope,
            start: self.start(node),
            name,
            bases: bases.unwrap_or((0, 0)),
            template: context.template,
            body: body.map(|body| self.braces(body)),
        });
        if let Some(body) = body {
            let class = self.out.classes.len() as u32 - 1;
            self.out
                .scopes
                .push(RawScope { parent: context.scope, kind: RawScopeKind::Class(class) });
            let scope = self.out.scopes.len() as u32 - 1;
            self.visit(body, Context { scope, ..Context::default() });
        }
    }

    fn enumeration(&mut self, node: Node, context: Context) {
        let Some(body) = node.child_by_field_name("body").or_else(|| {
            // An empty list after the name may be read as a body of another sort.
            node.named_child(node.named_child_count().saturating_sub(1) as u32)
                .filter(|c| c.kind() == "enumerator_list")
        }) else {
            return;
        };
        let at = self.token(node.start_byte());
        self.out.enums.push(RawEnum {
            scope: context.scope,
            start: self.start(node),
            name: node.child_by_field_name("name").map(|name| self.range(name).1 - 1),
            body: self.braces(body),
            scoped: self.source.kind(at as usize + 1) == Kind::Class,
        });
    }

    fn declaration(&mut self, node: Node, context: Context) {
        let kind = node.child_by_field_name("type");
        if let Some(kind) = kind
            && matches!(
                kind.kind(),
                "class_specifier" | "struct_specifier" | "union_specifier" | "enum_specifier"
            )
        {
            // `friend class X;` and `class X* f();` only mention the class.
            self.visit(kind, context);
        }
        let mut result = self.token(kind.unwrap_or(node).start_byte());
        while result > 0
            && matches!(
                self.source.kind(result as usize - 1),
                Kind::Const | Kind::Volatile | Kind::Typename
            )
        {
            result -= 1;
        }
        let mut cursor = node.walk();
        let declarators: Vec<Node> =
            node.children_by_field_name("declarator", &mut cursor).collect();
        for declarator in declarators {
            self.declarator(node, declarator, result, context);
        }
    }

    fn declarator(&mut self, node: Node, mut declarator: Node, result: u32, context: Context) {
        let mut function = None;
        for _ in 0..100 {
            let next = match declarator.kind() {
                "function_declarator" => {
                    let inner = declarator.child_by_field_name("declarator");
                    if inner.is_some_and(|inner| inner.kind() != "parenthesized_declarator") {
                        function = Some(declarator);
                    }
                    inner
                }
                "pointer_declarator" | "array_declarator" | "init_declarator" => {
                    declarator.child_by_field_name("declarator")
                }
                "reference_declarator" | "parenthesized_declarator" | "attributed_declarator" => {
                    declarator.named_child(declarator.named_child_count().saturating_sub(1) as u32)
                }
                _ => None,
            };
            let Some(next) = next else {
                break;
            };
            declarator = next;
        }
        match function {
            Some(function) => self.function(node, function, declarator, result, context),
            None => {
                let name = self.range(declarator);
                self.out.variables.push(RawVariable { scope: context.scope, result, name });
            }
        }
    }

    fn function(&mut self, node: Node, function: Node, name: Node, result: u32, context: Context) {
        let Some(parameters) = function.child_by_field_name("parameters") else {
            return;
        };
        let first = self.token(name.start_byte());
        let body = node
            .child_by_field_name("body")
            .filter(|body| body.kind() == "compound_statement")
            .map(|body| self.braces(body));
        let from_macro = self.skeleton.macro_functions.binary_search(&first).is_ok();
        let parenthesis = if from_macro { first + 1 } else { self.token(parameters.start_byte()) };
        let initialisers = body.and_then(|(open, _)| {
            let place =
                self.skeleton.initialisers.binary_search_by_key(&open, |&(body, _)| body).ok()?;
            Some(self.skeleton.initialisers[place].1)
        });
        self.out.functions.push(RawFunction {
            scope: context.scope,
            start: self.start(node),
            result,
            name: (first, parenthesis),
            body,
            initialisers,
            template: context.template,
            friend: context.friend || self.source.kind(self.start(node) as usize) == Kind::Friend,
            from_macro,
        });
        let body = node.child_by_field_name("body").filter(|body| body.named_child_count() > 0);
        if let Some(body) = body {
            let function = self.out.functions.len() as u32 - 1;
            self.out
                .scopes
                .push(RawScope { parent: context.scope, kind: RawScopeKind::Function(function) });
            let scope = self.out.scopes.len() as u32 - 1;
            self.children(body, Context { scope, ..Context::default() });
        }
    }

    fn alias(&mut self, node: Node, context: Context) {
        let Some(name) = node.child_by_field_name("name") else {
            return;
        };
        let name = self.token(name.start_byte());
        let end = self.skeleton.last_token(node.end_byte()) as u32;
        self.out.aliases.push(RawAlias {
            scope: context.scope,
            name,
            target: (name + 2, end),
            template: context.template,
        });
    }

    fn typedef(&mut self, node: Node, context: Context) {
        if let Some(kind) = node.child_by_field_name("type") {
            self.visit(kind, context);
        }
        let mut cursor = node.walk();
        let declarators: Vec<Node> =
            node.children_by_field_name("declarator", &mut cursor).collect();
        for mut declarator in declarators {
            let (mut plain, mut function) = (true, false);
            for _ in 0..100 {
                function |= declarator.kind() == "function_declarator";
                plain &= !matches!(declarator.kind(), "function_declarator" | "array_declarator");
                match declarator
                    .child_by_field_name("declarator")
                    .or_else(|| declarator.named_child(0))
                {
                    Some(inner) => declarator = inner,
                    None => break,
                }
            }
            let name = self.token(declarator.start_byte());
            let target = if plain {
                (self.token(node.start_byte()) + 1, name)
            } else {
                (u32::from(function), 0)
            };
            self.out.aliases.push(RawAlias { scope: context.scope, name, target, template: None });
        }
    }

    fn using(&mut self, node: Node, context: Context) {
        let first = self.token(node.start_byte());
        let namespace = self.source.kind(first as usize + 1) == Kind::Namespace;
        let start = first + 1 + u32::from(namespace);
        let end = self.skeleton.last_token(node.end_byte()) as u32;
        let kind = if namespace { RawUsingKind::Namespace } else { RawUsingKind::Name };
        for (start, end) in self.source.split_commas(start as usize, end as usize) {
            self.out.usings.push(RawUsing {
                scope: context.scope,
                path: (start as u32, end as u32),
                kind,
            });
        }
    }

    fn namespace_alias(&mut self, node: Node, context: Context) {
        let first = self.token(node.start_byte());
        let end = self.skeleton.last_token(node.end_byte()) as u32;
        self.out.usings.push(RawUsing {
            scope: context.scope,
            path: (first + 3, end),
            kind: RawUsingKind::Alias(first + 1),
        });
    }
}
