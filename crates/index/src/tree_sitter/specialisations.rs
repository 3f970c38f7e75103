//! Explicit specialisations of function templates.

use super::lookup::Place;
use super::names::function_name;
use super::symbols::{Function, Symbols};
use super::types::{Name, Type};
use super::value::Value;

impl Symbols<'_> {
    /// The explicit specialisation of a function template that a call means, or the template itself.
    pub(crate) fn specialised(
        &self,
        id: u32,
        wanted: Name,
        bindings: &[(Name, Type)],
        arguments: &[Value],
    ) -> u32 {
        let template = self.function(id);
        let known = self.specialisations.get(&(template.scope, wanted));
        let (Some(list), false) = (known, template.template.is_empty()) else {
            return id;
        };
        let bound = |parameter: &Name| {
            bindings
                .iter()
                .find(|(name, _)| name == parameter)
                .map_or(Type::UNKNOWN, |(_, ty)| ty.clone())
        };
        let means = |candidate: &&u32| {
            let function = self.function(**candidate);
            let explicit = self.explicit_arguments(function);
            if !explicit.is_empty() {
                let parameters = template.template.iter().map(bound);
                return explicit.iter().zip(parameters).all(|(left, right)| same(left, &right));
            }
            function.parameters.len() == arguments.len()
                && function.parameters.iter().zip(arguments).all(|(p, a)| same(&p.ty, &a.ty))
        };
        list.iter().find(means).copied().unwrap_or(id)
    }

    /// The arguments between the angle brackets of `template <> void f<int>()`.
    fn explicit_arguments(&self, function: &Function) -> Vec<Type> {
        let source = self.source(function.file);
        let raw = &self.files[function.file as usize].declarations.functions[function.raw as usize];
        let path = function_name(&source, raw.name.0 as usize, raw.name.1 as usize);
        match source.past_angles(path.at + 1, raw.name.1 as usize) {
            Some(past) => {
                let place = Place::new(function.file, function.scope);
                self.type_arguments(&source, path.at + 2, past - 1, place)
            }
            None => Vec::new(),
        }
    }
}

fn same(left: &Type, right: &Type) -> bool {
    !left.is_unknown() && left.base == right.base && left.pointer == right.pointer
}
