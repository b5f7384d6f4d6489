//! Calls that are not functions: `has`, the loops, `cel.bind`, `optMap`.

use super::ast::{Expr, Loop, Name, Walk};

type Parsed<T> = Result<T, (usize, String)>;

/// A call of a name.
pub fn call(name: Name, mut arguments: Vec<Expr>) -> Parsed<Expr> {
    match (&*name.text, arguments.len()) {
        ("has", 1) => match arguments.remove(0) {
            Expr::Select { of, field, optional: false } => Ok(Expr::Has { of, field }),
            _ => Err((name.at, "invalid argument to has() macro".into())),
        },
        ("cel.bind", 3) => {
            let body = arguments.remove(2);
            let value = arguments.remove(1);
            let variable = variable(&arguments[0], name.at)?;
            Ok(Expr::Bind { name: variable, parts: Box::new((value, body)) })
        }
        _ => Ok(Expr::Call { name, arguments }),
    }
}

/// A call of a method.
pub fn method(target: Expr, name: Name, mut arguments: Vec<Expr>) -> Parsed<Expr> {
    let text = name.text.clone();
    if matches!(&*text, "optMap" | "optFlatMap") && arguments.len() == 2 {
        let body = arguments.remove(1);
        let variable = variable(&arguments[0], name.at)?;
        let flat = &*text == "optFlatMap";
        return Ok(Expr::OptionalMap { name: variable, parts: Box::new((target, body)), flat });
    }
    match shape(&text, arguments.len()) {
        Some(shape) => looped(shape, target, &name, arguments),
        None => Ok(Expr::Method { target: Box::new(target), name, arguments }),
    }
}

struct Shape {
    walk: Walk,
    variables: usize,
    filtered: bool,
}

fn shape(name: &str, count: usize) -> Option<Shape> {
    let of = |walk, variables, filtered| Some(Shape { walk, variables, filtered });
    match (name, count) {
        ("all", 2) => of(Walk::All, 1, false),
        ("all", 3) => of(Walk::All, 2, false),
        ("exists", 2) => of(Walk::Exists, 1, false),
        ("exists", 3) => of(Walk::Exists, 2, false),
        ("exists_one" | "existsOne", 2) => of(Walk::ExistsOne, 1, false),
        ("exists_one" | "existsOne", 3) => of(Walk::ExistsOne, 2, false),
        ("filter", 2) => of(Walk::Filter, 1, false),
        ("map", 2) => of(Walk::Map, 1, false),
        ("map", 3) => of(Walk::Map, 1, true),
        ("sortBy", 2) => of(Walk::SortBy, 1, false),
        ("transformList", 3) => of(Walk::Map, 2, false),
        ("transformList", 4) => of(Walk::Map, 2, true),
        ("transformMap", 3) => of(Walk::TransformMap, 2, false),
        ("transformMap", 4) => of(Walk::TransformMap, 2, true),
        _ => None,
    }
}

fn looped(shape: Shape, range: Expr, name: &Name, mut arguments: Vec<Expr>) -> Parsed<Expr> {
    let Some(body) = arguments.pop() else {
        return Err((name.at, format!("{} needs arguments", name.text)));
    };
    let only = if shape.filtered { arguments.pop() } else { None };
    let first = variable(&arguments[0], name.at)?;
    let second = match shape.variables {
        2 => Some(variable(&arguments[1], name.at)?),
        _ => None,
    };
    Ok(Expr::Loop(Box::new(Loop { walk: shape.walk, range, first, second, only, body })))
}

fn variable(expr: &Expr, at: usize) -> Parsed<Box<str>> {
    match expr {
        Expr::Variable(name) => Ok(name.text.clone()),
        _ => Err((at, "argument must be a simple name".into())),
    }
}
