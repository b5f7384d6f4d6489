//! What can be said of an expression before it runs: names that nobody knows.

use super::{
    ast::{Expr, Name},
    library, parser,
};

/// Refuses variables and functions that there are not.
pub fn check(root: &Expr, source: &str, variables: &[&str]) -> Result<(), String> {
    let mut scope = variables.iter().map(|v| (*v).to_owned()).collect();
    let unknown = |name: &Name| {
        let text = format!("undeclared reference to '{}' (in container '')", name.text);
        parser::located(source, name.at, &text)
    };
    names(root, &mut scope, &mut |what, known| if known { Ok(()) } else { Err(what) }).map_err(unknown)
}

/// Whether an expression uses a variable from outside.
pub fn uses(root: &Expr, variable: &str) -> bool {
    let mut scope = vec![];
    let mut found = false;
    let _: Result<(), &Name> = names(root, &mut scope, &mut |name, known| {
        found |= !known && &*name.text == variable;
        Ok(())
    });
    found
}

/// Types are values with these names.
const TYPES: [&str; 12] =
    ["bool", "bytes", "double", "duration", "dyn", "int", "list", "map", "null_type", "string", "timestamp", "uint"];

type Visit<'v, 'e> = dyn FnMut(&'e Name, bool) -> Result<(), &'e Name> + 'v;

/// Visits every variable that no macro binds and every function, and says whether it is known.
fn names<'e>(expr: &'e Expr, scope: &mut Vec<String>, visit: &mut Visit<'_, 'e>) -> Result<(), &'e Name> {
    match expr {
        Expr::Literal(_) => Ok(()),
        Expr::Variable(name) => {
            let known = scope.iter().any(|v| **v == *name.text) || TYPES.contains(&&*name.text);
            visit(name, known)
        }
        Expr::Select { of, .. } | Expr::Has { of, .. } | Expr::Not(of) | Expr::Negate(of) => names(of, scope, visit),
        Expr::Index { of, index, .. } => names(of, scope, visit).and_then(|()| names(index, scope, visit)),
        Expr::Call { name, arguments } => {
            visit(name, library::is_function(&name.text))?;
            arguments.iter().try_for_each(|a| names(a, scope, visit))
        }
        Expr::Method { target, name, arguments } => {
            names(target, scope, visit)?;
            visit(name, library::is_method(&name.text))?;
            arguments.iter().try_for_each(|a| names(a, scope, visit))
        }
        Expr::List(items) => items.iter().try_for_each(|(item, _)| names(item, scope, visit)),
        Expr::Map(entries) => entries.iter().try_for_each(|(key, value, _)| {
            names(key, scope, visit)?;
            names(value, scope, visit)
        }),
        Expr::And(terms) | Expr::Or(terms) => terms.iter().try_for_each(|t| names(t, scope, visit)),
        Expr::Choice(parts) => {
            let (condition, yes, no) = &**parts;
            [condition, yes, no].into_iter().try_for_each(|e| names(e, scope, visit))
        }
        Expr::Binary(_, sides) => names(&sides.0, scope, visit).and_then(|()| names(&sides.1, scope, visit)),
        Expr::Loop(walk) => {
            names(&walk.range, scope, visit)?;
            let bound = [Some(&*walk.first), walk.second.as_deref()];
            let parts = walk.only.iter().chain([&walk.body]);
            inside(&bound, parts, scope, visit)
        }
        Expr::Bind { name, parts } | Expr::OptionalMap { name, parts, .. } => {
            names(&parts.0, scope, visit)?;
            inside(&[Some(&**name)], [&parts.1].into_iter(), scope, visit)
        }
    }
}

fn inside<'e>(
    bound: &[Option<&str>],
    mut parts: impl Iterator<Item = &'e Expr>,
    scope: &mut Vec<String>,
    visit: &mut Visit<'_, 'e>,
) -> Result<(), &'e Name> {
    let before = scope.len();
    scope.extend(bound.iter().flatten().map(|name| (*name).to_owned()));
    let result = parts.try_for_each(|part| names(part, scope, visit));
    scope.truncate(before);
    result
}
