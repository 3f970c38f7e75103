//! The calls of a function's body.

use super::body::Body;
use super::lexer::Kind;
use super::lookup::Place;
use super::signatures;
use super::source::Source;
use super::symbols::{GLOBAL, ScopeKind, Symbols};
use super::templates::template_parameters;
use super::types::{Base, Reference, ScopeId, Type, name};
use super::value::Value;

/// What was found in a body.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// The functions called, sorted and distinct.
    pub(crate) functions: Vec<u32>,
    /// Whether some of it nests too deeply to be read.
    pub(crate) too_deep: bool,
}

/// Reads the body of definition `number` of `file`; `scope` is that of its local classes, if it has some.
pub(crate) fn calls(symbols: &Symbols, file: u32, number: u32, scope: Option<ScopeId>) -> Calls {
    let raw = &symbols.files[file as usize].declarations.functions[number as usize];
    let Some((open, close)) = raw.body else {
        return Calls::default();
    };
    let source = symbols.source(file);
    let function = symbols.function(symbols.function_of[file as usize][number as usize]);
    let template = raw
        .template
        .map_or_else(Vec::new, |at| template_parameters(&source, at as usize, symbols.macros));
    let owner = lexical_scope(symbols, file, raw.scope, function.scope, raw.friend);
    let place = Place { template: &template, ..Place::new(file, owner) };
    let mut locals = Vec::new();
    if !raw.from_macro {
        let (parameters, _) = symbols.parameters(&source, raw.name.1 as usize, place);
        locals.extend(
            parameters
                .into_iter()
                .filter(|p| p.name != 0)
                .map(|p| (p.name, p.ty.without_reference())),
        );
    }
    let result = signatures::result(symbols, &source, raw, place);
    let mut body = Body {
        symbols,
        file,
        scope: scope.unwrap_or(owner),
        this: this_type(symbols, function.scope, function.is_static, function.constant, &template),
        template,
        locals,
        types: Vec::new(),
        result: if result.base == Base::Auto { Type::UNKNOWN } else { result },
        calls: Vec::new(),
        depth: 0,
        expanding: Vec::new(),
        expanded: 0,
        too_deep: false,
        returned: None,
    };
    if raw.from_macro {
        body.fixture(&source, raw.name.1 as usize);
    }
    if let Some(colon) = raw.initialisers {
        body.member_initialisers(&source, colon as usize + 1, open as usize);
    }
    body.default_arguments(&source, raw.name.1 as usize);
    body.declared_defaults(&function.declarations, (file, number));
    if source.past_old_style(raw.name.1 as usize) == Some(open as usize) {
        body.statements(&source, source.past(raw.name.1 as usize), open as usize);
    }
    body.statements(&source, open as usize + 1, close as usize);
    let mut functions = body.calls;
    functions.sort_unstable();
    functions.dedup();
    Calls { functions, too_deep: body.too_deep }
}

/// Where the body's names are looked up: a friend's in the class that holds it, others where they belong.
fn lexical_scope(
    symbols: &Symbols,
    file: u32,
    raw_scope: u32,
    owner: ScopeId,
    friend: bool,
) -> ScopeId {
    let (lexical, _) = symbols.file_scopes[file as usize][raw_scope as usize];
    if friend { lexical } else { owner }
}

fn this_type(
    symbols: &Symbols,
    scope: ScopeId,
    is_static: bool,
    constant: bool,
    template: &[u64],
) -> Option<Type> {
    let data = symbols.scope(scope);
    if data.kind != ScopeKind::Class || is_static {
        return None;
    }
    let owner = symbols.template_owner(scope).unwrap_or(scope);
    // Out of the class a template's parameters may have other names.
    let names = if owner != scope {
        &symbols.scope(owner).template
    } else if template.len() >= data.template.len() {
        &template[..data.template.len()]
    } else {
        &data.template
    };
    let arguments = (!names.is_empty())
        .then(|| names.iter().map(|&parameter| Type::of(Base::Parameter(parameter))).collect());
    Some(Type { constant, ..Type::of(Base::Class(scope, arguments)) })
}

impl Body<'_, '_> {
    /// `TEST_F(Fixture, Name)`: the body is a member of a class derived from the fixture.
    fn fixture(&mut self, source: &Source, open: usize) {
        let close = source.mate(open);
        let Some(&(start, end)) = source.split_commas(open + 1, close).first() else {
            return;
        };
        if let Some((ty, _)) = self.symbols.parse_type(source, start, end, self.place())
            && let Some(class) = ty.class()
            && self.symbols.scope(class).kind == ScopeKind::Class
        {
            self.scope = class;
            self.this = Some(ty);
        }
    }

    /// `: base(x), member(y)`.
    fn member_initialisers(&mut self, source: &Source, start: usize, end: usize) {
        for (start, stop) in source.split_commas(start, end) {
            let Some(open) =
                (start..stop).find(|&i| matches!(source.kind(i), Kind::LParen | Kind::LBrace))
            else {
                continue;
            };
            let wanted = name(source.text(start));
            let member = self.data_member(wanted).filter(|_| open == start + 1);
            let ty = member.clone().or_else(|| {
                self.symbols.parse_type(source, start, open, self.place()).map(|(ty, _)| ty)
            });
            let is_base = member.is_none();
            let arguments = self.arguments(source, open);
            // Of a base only the arguments are looked at before a template is used.
            if let Some(ty) = ty
                && !(is_base && self.in_template())
            {
                self.construct(&Type { constant: false, ..ty }, &arguments);
            }
        }
    }

    /// Whether the body belongs to a template, or to a class of one.
    fn in_template(&self) -> bool {
        let mut scope = self.scope;
        while scope != GLOBAL {
            if !self.symbols.scope(scope).template.is_empty() {
                return true;
            }
            scope = self.symbols.scope(scope).parent;
        }
        !self.template.is_empty()
    }

    fn data_member(&self, wanted: u64) -> Option<Type> {
        let class = self.this.as_ref()?.class()?;
        self.symbols.entries(class, wanted).iter().find_map(|entry| match entry.entity {
            super::symbols::Entity::Variable(id) => {
                Some(self.symbols.variables[id as usize].ty.clone())
            }
            _ => None,
        })
    }

    /// Calls in the defaults that other declarations of the function give.
    fn declared_defaults(&mut self, declarations: &[(u32, u32)], definition: (u32, u32)) {
        for &(file, number) in declarations.iter().filter(|&&place| place != definition) {
            let raw = &self.symbols.files[file as usize].declarations.functions[number as usize];
            if raw.body.is_none() && !raw.from_macro {
                let source = self.symbols.source(file);
                let own = std::mem::replace(&mut self.file, file);
                self.default_arguments(&source, raw.name.1 as usize);
                self.file = own;
            }
        }
    }

    /// Calls in the defaults of the definition's own parameters.
    fn default_arguments(&mut self, source: &Source, open: usize) {
        let (parameters, _) = super::names::parameter_tokens(source, open);
        for (place, parameter) in
            parameters.iter().enumerate().filter(|(_, p)| p.optional && !p.pack)
        {
            let end = source
                .split_commas(open + 1, source.mate(open))
                .get(place)
                .map_or(open, |piece| piece.1);
            let Some(assign) = (parameter.start..end).find(|&i| source.kind(i) == Kind::Assign)
            else {
                continue;
            };
            let mut i = assign + 1;
            let value: Value = self.expression(source, &mut i, end, 2);
            let parsed =
                self.symbols.parse_type(source, parameter.start, parameter.type_end, self.place());
            if let Some((ty, _)) = parsed {
                let reference =
                    if ty.reference == Reference::None { Reference::None } else { ty.reference };
                self.copy(&value, &Type { reference, ..ty });
            }
        }
    }
}
