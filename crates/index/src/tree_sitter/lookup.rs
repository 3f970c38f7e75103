//! Finding what a name means where it stands.

use super::lexer::Kind;
use super::source::Source;
use super::symbols::{EVERYWHERE, Entity, Entry, GLOBAL, ScopeKind, Symbols};
use super::types::{Base, Name, ScopeId, Type, name};

/// How far lookups follow bases, usings and aliases of one another.
const DEEPEST: usize = 16;

/// Where a name stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'p> {
    pub(crate) file: u32,
    pub(crate) scope: ScopeId,
    /// Parameters of the function template around it.
    pub(crate) template: &'p [Name],
    /// Types that the function itself names.
    pub(crate) types: &'p [(Name, Type)],
    pub(crate) depth: usize,
}

impl<'p> Place<'p> {
    pub(crate) fn new(file: u32, scope: ScopeId) -> Self {
        Place { file, scope, template: &[], types: &[], depth: 0 }
    }

    pub(crate) fn deeper(self) -> Option<Self> {
        (self.depth < DEEPEST).then_some(Place { depth: self.depth + 1, ..self })
    }
}

/// One component of a qualified name: its token and the token range of its template arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Component {
    pub(crate) at: usize,
    pub(crate) arguments: Option<(usize, usize)>,
}

impl<'a> Symbols<'a> {
    /// What `name` means as a direct member of `scope`, inline namespaces and using directives included.
    pub(crate) fn in_scope(&self, scope: ScopeId, wanted: Name, file: u32) -> Vec<Entry> {
        let mut found = Vec::new();
        self.collect(scope, wanted, file, 0, &mut found);
        found
    }

    fn collect(
        &self,
        scope: ScopeId,
        wanted: Name,
        file: u32,
        depth: usize,
        found: &mut Vec<Entry>,
    ) {
        let entries = self.entries(scope, wanted);
        found.extend(entries.iter().filter(|entry| self.can_see(file, entry)));
        let data = self.scope(scope);
        if depth >= 6 {
            return;
        }
        if data.kind == ScopeKind::Class && found.is_empty() {
            for base in &data.bases {
                if let Base::Class(base, _) = base.base {
                    self.collect(base, wanted, file, depth + 1, found);
                }
            }
        }
        if data.kind == ScopeKind::Class && !found.is_empty() {
            return;
        }
        for &(namespace, seen_by) in &data.usings {
            if (seen_by == EVERYWHERE || seen_by == file) && namespace != scope {
                let known = found.len();
                let mut more = Vec::new();
                self.collect(namespace, wanted, file, depth + 2, &mut more);
                more.retain(|entry| found[..known].iter().all(|old| old.entity != entry.entity));
                found.extend(more);
            }
        }
    }

    /// What stands in a source is seen by those files only that include it; functions may be declared anywhere.
    fn can_see(&self, file: u32, entry: &Entry) -> bool {
        if entry.local_to != EVERYWHERE {
            return entry.local_to == file;
        }
        entry.file == file
            || self.headers[entry.file as usize]
            || matches!(entry.entity, Entity::Function(_) | Entity::Namespace(_))
            || self.sees(file, entry.file)
    }

    /// What an unqualified name means, innermost scope first.
    pub(crate) fn unqualified(&self, place: Place, wanted: Name) -> (ScopeId, Vec<Entry>) {
        let mut scope = place.scope;
        loop {
            let found = self.in_scope(scope, wanted, place.file);
            if !found.is_empty() {
                return (scope, self.preferred(found, place.file));
            }
            if scope == GLOBAL {
                return (GLOBAL, Vec::new());
            }
            scope = self.scope(scope).parent;
        }
    }

    /// Of several classes of one name (separate programs in one project) the one this file can see.
    pub(crate) fn preferred(&self, found: Vec<Entry>, file: u32) -> Vec<Entry> {
        let typelike = |entry: &Entry| !matches!(entry.entity, Entity::Function(_));
        if found.len() < 2 || !found.iter().all(typelike) {
            return found;
        }
        let visible = |entry: &&Entry| self.sees(file, entry.file);
        let best = found
            .iter()
            .find(|entry| entry.file == file)
            .or_else(|| found.iter().find(visible))
            .unwrap_or(&found[0]);
        vec![*best]
    }

    /// Whether `file` is or includes `other`.
    pub(crate) fn sees(&self, file: u32, other: u32) -> bool {
        self.includes.sees(file, other)
    }

    /// The parameters of class templates around a place.
    fn is_template_parameter(&self, place: Place, wanted: Name) -> bool {
        if place.template.contains(&wanted) {
            return true;
        }
        let mut scope = place.scope;
        while scope != GLOBAL {
            let data = self.scope(scope);
            if data.template.contains(&wanted) {
                return true;
            }
            scope = data.parent;
        }
        false
    }

    /// Reads a name such as `::a::B<C>::d` at `at`; returns its components, whether it began with `::`, and the
    /// place after it. `arguments` says whether a `<` after a name begins template arguments.
    pub(crate) fn path(
        &self,
        source: &Source,
        at: usize,
        end: usize,
        mut arguments: impl FnMut(&[Component]) -> bool,
    ) -> Option<(Vec<Component>, bool, usize)> {
        let rooted = source.kind(at) == Kind::ColonColon;
        let mut i = at + usize::from(rooted);
        let mut components = Vec::new();
        loop {
            if source.kind(i) == Kind::Template {
                i += 1;
            }
            if i >= end || source.kind(i) != Kind::Ident {
                return None;
            }
            components.push(Component { at: i, arguments: None });
            i += 1;
            if source.kind(i) == Kind::Lt
                && i < end
                && arguments(&components)
                && let Some(past) = source.past_angles(i, end)
                && let Some(last) = components.last_mut()
            {
                last.arguments = Some((i + 1, past - 1));
                i = past;
            }
            if source.kind(i) == Kind::ColonColon
                && i + 1 < end
                && matches!(source.kind(i + 1), Kind::Ident | Kind::Template)
            {
                i += 1;
            } else {
                return Some((components, rooted, i));
            }
        }
    }

    /// The scope that all components but the last name. `Err(ty)` if they name a type that is no scope of the project.
    pub(crate) fn qualifier(
        &self,
        source: &Source,
        components: &[Component],
        rooted: bool,
        place: Place,
    ) -> Result<Type, Type> {
        let mut current: Option<Type> = rooted.then(|| scope_type(GLOBAL));
        for component in components {
            let wanted = name(source.text(component.at));
            let next = match &current {
                None => self.scope_named(source, *component, wanted, place)?,
                Some(ty) => {
                    let Base::Class(scope, _) = ty.base else {
                        return Err(ty.clone());
                    };
                    let found =
                        self.preferred(self.in_scope(scope, wanted, place.file), place.file);
                    match self.entry_scope(&found, source, *component, place) {
                        Some(next) => next,
                        None => return Err(Type::UNKNOWN),
                    }
                }
            };
            if !matches!(next.base, Base::Class(..)) {
                return Err(next);
            }
            current = Some(next);
        }
        current.ok_or(Type::UNKNOWN)
    }

    fn scope_named(
        &self,
        source: &Source,
        component: Component,
        wanted: Name,
        place: Place,
    ) -> Result<Type, Type> {
        if let Some((_, ty)) = place.types.iter().rev().find(|(known, _)| *known == wanted) {
            return Ok(ty.clone());
        }
        if self.is_template_parameter(place, wanted) {
            return Err(Type::of(Base::Dependent));
        }
        let mut scope = place.scope;
        loop {
            let found = self.preferred(self.in_scope(scope, wanted, place.file), place.file);
            if let Some(ty) = self.entry_scope(&found, source, component, place) {
                return Ok(ty);
            }
            if scope == GLOBAL {
                return Err(Type::UNKNOWN);
            }
            scope = self.scope(scope).parent;
        }
    }

    /// The namespace, class or alias among the entries, as a type.
    fn entry_scope(
        &self,
        found: &[Entry],
        source: &Source,
        component: Component,
        place: Place,
    ) -> Option<Type> {
        found.iter().find_map(|entry| match entry.entity {
            Entity::Namespace(scope) => Some(scope_type(scope)),
            Entity::Class(_) | Entity::Alias(_) | Entity::Using(_) | Entity::Enum(_) => {
                self.entity_type(entry.entity, source, component, place)
            }
            _ => None,
        })
    }

    /// The type that an entity names, with the component's template arguments.
    pub(crate) fn entity_type(
        &self,
        entity: Entity,
        source: &Source,
        component: Component,
        place: Place,
    ) -> Option<Type> {
        match entity {
            Entity::Class(scope) => {
                let arguments = match component.arguments {
                    Some((start, end)) => Some(self.type_arguments(source, start, end, place)),
                    None => self.own_arguments(scope, place),
                };
                Some(Type::of(Base::Class(
                    scope,
                    arguments.filter(|list| !list.is_empty()).map(Into::into),
                )))
            }
            Entity::Enum(id) => Some(Type::of(Base::Enum(id))),
            Entity::Alias(id) => {
                let place = place.deeper()?;
                let alias = &self.aliases[id as usize];
                if alias.target.1 <= alias.target.0 {
                    let function = alias.target.0 == 1;
                    return Some(if function { Type::FUNCTION } else { Type::UNKNOWN });
                }
                let inner = Place {
                    file: alias.file,
                    scope: alias.scope,
                    template: &alias.template,
                    types: &[],
                    ..place
                };
                let target = self.source(alias.file);
                let end = alias.target.1 as usize;
                let (ty, next) = self.parse_type(&target, alias.target.0 as usize, end, inner)?;
                if next < end && target.kind(next) == Kind::LParen {
                    return Some(Type::FUNCTION);
                }
                let Some((start, end)) = component.arguments else {
                    return Some(ty);
                };
                let arguments = self.type_arguments(source, start, end, place);
                let open = arguments.iter().any(Type::is_dependent);
                let bindings: Vec<(Name, Type)> =
                    alias.template.iter().copied().zip(arguments).collect();
                let ty = ty.substitute(&bindings);
                Some(if open { ty } else { ty.settled() })
            }
            Entity::Using(id) => {
                let place = place.deeper()?;
                let (scope, file, range) = self.usings[id as usize];
                let inner = Place { file, scope, template: &[], types: &[], ..place };
                let target = self.source(file);
                let (ty, _) =
                    self.parse_type(&target, range.0 as usize, range.1 as usize, inner)?;
                match (&ty.base, component.arguments) {
                    (Base::Class(scope, None), Some((start, end))) => {
                        let arguments = self.type_arguments(source, start, end, place);
                        let arguments = (!arguments.is_empty()).then(|| arguments.into());
                        Some(Type::of(Base::Class(*scope, arguments)))
                    }
                    _ => Some(ty),
                }
            }
            _ => None,
        }
    }

    /// Inside a class template its own name stands for it with its own parameters.
    fn own_arguments(&self, class: ScopeId, place: Place) -> Option<Vec<Type>> {
        let owner = self.template_owner(class)?;
        let template = &self.scope(owner).template;
        let mut scope = place.scope;
        while scope != GLOBAL {
            if scope == owner {
                return Some(
                    template
                        .iter()
                        .map(|&parameter| Type::of(Base::Parameter(parameter)))
                        .collect(),
                );
            }
            scope = self.scope(scope).parent;
        }
        None
    }

    /// The template that a class is or lies in: a class within a class template depends on the same parameters.
    pub(crate) fn template_owner(&self, class: ScopeId) -> Option<ScopeId> {
        let mut scope = class;
        while self.scope(scope).kind != ScopeKind::Namespace {
            if !self.scope(scope).template.is_empty() {
                return Some(scope);
            }
            scope = self.scope(scope).parent;
        }
        None
    }

    pub(crate) fn type_arguments(
        &self,
        source: &Source,
        start: usize,
        end: usize,
        place: Place,
    ) -> Vec<Type> {
        let Some(place) = place.deeper() else {
            return Vec::new();
        };
        source
            .split_commas(start, end)
            .into_iter()
            .map(|(start, end)| {
                self.parse_type(source, start, end, place).map_or(Type::UNKNOWN, |(ty, _)| ty)
            })
            .collect()
    }

    /// The type that an unqualified name names.
    pub(crate) fn type_named(
        &self,
        source: &Source,
        component: Component,
        place: Place,
    ) -> Option<Type> {
        let wanted = name(source.text(component.at));
        if let Some((_, ty)) = place.types.iter().rev().find(|(known, _)| *known == wanted) {
            return Some(ty.clone());
        }
        let mut scope = place.scope;
        if place.template.contains(&wanted) {
            return Some(Type::of(Base::Parameter(wanted)));
        }
        loop {
            if self.scope(scope).template.contains(&wanted) {
                return Some(Type::of(Base::Parameter(wanted)));
            }
            let found = self.in_scope(scope, wanted, place.file);
            let types: Vec<Entry> = found
                .iter()
                .copied()
                .filter(|entry| {
                    matches!(
                        entry.entity,
                        Entity::Class(_) | Entity::Alias(_) | Entity::Enum(_) | Entity::Using(_)
                    )
                })
                .collect();
            for entry in self.preferred(types, place.file) {
                if let Some(ty) = self.entity_type(entry.entity, source, component, place) {
                    return Some(ty);
                }
            }
            // A constructor has its class's name; anything else of that name hides types further out.
            if !found.is_empty() && self.scope(scope).kind != ScopeKind::Class {
                return None;
            }
            if scope == GLOBAL {
                return None;
            }
            scope = self.scope(scope).parent;
        }
    }

    /// Whether `derived` is `base` or inherits from it.
    pub(crate) fn inherits(&self, derived: ScopeId, base: ScopeId, depth: usize) -> bool {
        derived == base
            || (depth < DEEPEST
                && self.scope(derived).bases.iter().any(
                    |ty| matches!(ty.base, Base::Class(next, _) if self.inherits(next, base, depth + 1)),
                ))
    }

    /// Whether a type is a class, or an enumeration or class of one, or has one among its template arguments.
    pub(crate) fn belongs_to(&self, ty: &Type, owner: ScopeId) -> bool {
        let within =
            |scope: ScopeId| self.inherits(scope, owner, 0) || self.scope(scope).parent == owner;
        match &ty.base {
            Base::Class(scope, arguments) => {
                within(*scope)
                    || arguments
                        .as_deref()
                        .unwrap_or(&[])
                        .iter()
                        .any(|ty| self.belongs_to(ty, owner))
            }
            Base::Enum(id) => self.enums[*id as usize] == owner,
            Base::Standard(_, Some(arguments)) => {
                arguments.iter().any(|ty| self.belongs_to(ty, owner))
            }
            Base::Unknown | Base::Foreign(_) | Base::Dependent | Base::Parameter(_) => true,
            _ => false,
        }
    }

    /// What `class`'s parameters stand for in `ty`, and those of its bases.
    pub(crate) fn bindings(&self, ty: &Type) -> Vec<(Name, Type)> {
        let mut bindings = Vec::new();
        self.collect_bindings(ty, &mut bindings, 0);
        bindings
    }

    fn collect_bindings(&self, ty: &Type, bindings: &mut Vec<(Name, Type)>, depth: usize) {
        let Base::Class(scope, arguments) = &ty.base else {
            return;
        };
        let data = self.scope(*scope);
        let owner = self.template_owner(*scope).filter(|_| arguments.is_some()).unwrap_or(*scope);
        let template = &self.scope(owner).template;
        for (place, &parameter) in template.iter().enumerate() {
            let bound = arguments.as_deref().and_then(|list| list.get(place)).cloned();
            bindings.push((parameter, bound.unwrap_or(Type::UNKNOWN)));
        }
        if depth < 4 {
            for base in &data.bases {
                if matches!(base.base, Base::Class(_, Some(_))) {
                    let base = base.substitute(bindings);
                    self.collect_bindings(&base, bindings, depth + 1);
                }
            }
        }
    }
}

/// A scope as a type, so that namespaces and classes can qualify names alike.
pub(crate) fn scope_type(scope: ScopeId) -> Type {
    Type::of(Base::Class(scope, None))
}
