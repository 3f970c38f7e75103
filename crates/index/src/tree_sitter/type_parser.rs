//! Reading a type from tokens.

use super::arithmetic;
use super::lexer::Kind;
use super::lookup::{Component, Place};
use super::macros::Role;
use super::source::Source;
use super::standard;
use super::symbols::Symbols;
use super::types::{Base, Reference, Type};

impl<'a> Symbols<'a> {
    /// The type that begins at `at` and the place after it. A name that nothing is known of is [`Base::Unknown`].
    pub(crate) fn parse_type(
        &self,
        source: &Source,
        at: usize,
        end: usize,
        place: Place,
    ) -> Option<(Type, usize)> {
        let mut constant = false;
        let mut i = at;
        let mut typename = false;
        while i < end {
            let past = source.past_attribute(i);
            if past > i {
                i = past;
                continue;
            }
            match source.kind(i) {
                Kind::Const => constant = true,
                Kind::Specifier
                | Kind::Static
                | Kind::Virtual
                | Kind::Volatile
                | Kind::Class
                | Kind::Enum
                | Kind::Friend
                | Kind::Typedef => {}
                Kind::Typename => typename = true,
                Kind::Extern => i += usize::from(source.kind(i + 1) == Kind::Str),
                _ => break,
            }
            i += 1;
        }
        if i >= end {
            return None;
        }
        let (mut ty, mut i) = match source.kind(i) {
            Kind::Builtin => self.builtin(source, i, end),
            Kind::Auto => (Type::of(Base::Auto), i + 1),
            Kind::Decltype if source.kind(i + 1) == Kind::LParen => {
                (Type::UNKNOWN, source.past(i + 1))
            }
            Kind::Ident | Kind::ColonColon => self.named(source, i, end, place, typename)?,
            _ => return None,
        };
        ty.constant |= constant;
        while i < end {
            match source.kind(i) {
                // A constant pointer says nothing about what it points to.
                Kind::Const => ty.constant |= ty.pointer == 0,
                Kind::Volatile | Kind::Ellipsis | Kind::Specifier => {}
                Kind::Star => ty = ty.pointer_to(),
                Kind::Amp => ty.reference = Reference::Left,
                Kind::AmpAmp => ty.reference = Reference::Right,
                // An empty macro, such as `FAR`.
                Kind::Ident
                    if matches!(source.kind(i + 1), Kind::Star | Kind::Amp | Kind::Const)
                        && self
                            .macros
                            .get(source.text(i))
                            .is_some_and(|definition| definition.role == Role::Decoration) => {}
                _ => break,
            }
            i += 1;
        }
        Some((ty, i))
    }

    fn builtin(&self, source: &Source, at: usize, end: usize) -> (Type, usize) {
        let builtin = |&i: &usize| matches!(source.kind(i), Kind::Builtin | Kind::Const);
        let i = (at..end).find(|i| !builtin(i)).unwrap_or(end);
        let base = arithmetic::of_words((at..i).map(|token| source.text(token)));
        (Type::of(base), i)
    }

    fn named(
        &self,
        source: &Source,
        at: usize,
        end: usize,
        place: Place,
        typename: bool,
    ) -> Option<(Type, usize)> {
        let (components, rooted, next) = self.path(source, at, end, |_| true)?;
        let ty = self.components_type(source, &components, rooted, place);
        let open = |component: &Component| {
            component.arguments.is_some_and(|(start, end)| {
                self.type_arguments(source, start, end, place).iter().any(Type::is_dependent)
            })
        };
        let dependent = ty.is_unknown() && (typename || components.iter().any(open));
        let last = components.last().map_or("", |last| source.text(last.at));
        let foreign = ty.base == Base::Unknown && ty.pointer == 0;
        let ty = match () {
            () if dependent => Type::of(Base::Dependent),
            () if foreign => Type { base: Base::Foreign(super::types::name(last)), ..ty },
            () => ty,
        };
        Some((ty, next))
    }

    /// The type that a qualified name names.
    pub(crate) fn components_type(
        &self,
        source: &Source,
        components: &[Component],
        rooted: bool,
        place: Place,
    ) -> Type {
        let [qualifiers @ .., last] = components else {
            return Type::UNKNOWN;
        };
        if qualifiers.is_empty() && !rooted {
            return match self.type_named(source, *last, place) {
                Some(ty) => ty,
                // `using std::string;` and C's own names.
                None => self.standard_type(source, &components[..1], place),
            };
        }
        match self.qualifier(source, qualifiers, rooted, place) {
            Ok(qualifier) => {
                let Base::Class(scope, _) = qualifier.base else {
                    return Type::UNKNOWN;
                };
                let wanted = super::types::name(source.text(last.at));
                let found = self.preferred(self.in_scope(scope, wanted, place.file), place.file);
                let ty = found
                    .iter()
                    .find_map(|entry| self.entity_type(entry.entity, source, *last, place));
                match ty {
                    Some(Type { base: Base::Class(inner, None), .. })
                        if self.scope(inner).parent == scope
                            && matches!(qualifier.base, Base::Class(_, Some(_))) =>
                    {
                        // A class within a class template depends on the same arguments.
                        let Base::Class(_, arguments) = qualifier.base else {
                            return Type::UNKNOWN;
                        };
                        Type::of(Base::Class(inner, arguments))
                    }
                    Some(ty) => ty.substitute(&self.bindings(&qualifier)),
                    None if qualifier.is_dependent() => Type::of(Base::Dependent),
                    // Projects specialise templates of `std`.
                    None if source.text(components[0].at) == "std" => {
                        self.standard_type(source, &components[1..], place)
                    }
                    None => Type::UNKNOWN,
                }
            }
            Err(ty) if ty.is_dependent() => Type::of(Base::Dependent),
            Err(ty) => {
                if let Base::Standard(..) = ty.base {
                    return standard::member_type(&ty, source.text(last.at));
                }
                if source.text(components[0].at) == "std" {
                    return self.standard_type(source, &components[1..], place);
                }
                Type::UNKNOWN
            }
        }
    }

    /// A type of the standard library; `components` without `std`.
    fn standard_type(&self, source: &Source, components: &[Component], place: Place) -> Type {
        let mut ty: Option<Type> = None;
        for component in components {
            let text = source.text(component.at);
            let arguments = component.arguments.map_or_else(Vec::new, |(start, end)| {
                self.type_arguments(source, start, end, place)
            });
            ty = Some(match ty {
                Some(outer) if matches!(outer.base, Base::Standard(..)) => {
                    standard::member_type(&outer, text)
                }
                _ => standard::named(text, arguments),
            });
        }
        ty.unwrap_or(Type::UNKNOWN)
    }
}
