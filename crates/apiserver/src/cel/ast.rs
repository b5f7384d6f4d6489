//! Expressions as trees. Macros are nodes of their own, not folds.

use super::value::Value;

/// An operator with two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `in`
    In,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
}

impl Binary {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

/// What a macro does with the items of a list or map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// True for every one.
    All,
    /// True for any.
    Exists,
    /// True for exactly one.
    ExistsOne,
    /// Those for which it is true.
    Filter,
    /// What becomes of each.
    Map,
    /// What becomes of each value, by key.
    TransformMap,
    /// The items by ascending key.
    SortBy,
}

/// A macro over the items of something.
#[derive(Clone, Debug)]
pub struct Loop {
    /// What it does.
    pub walk: Walk,
    /// Over what.
    pub range: Expr,
    /// The variable of the item (or of the key or index, where there are two).
    pub first: Box<str>,
    /// The variable of the value, where there are two.
    pub second: Option<Box<str>>,
    /// Only items for which this is true.
    pub only: Option<Expr>,
    /// Evaluated for every item.
    pub body: Expr,
}

/// A name that is called, and where in the source it is.
#[derive(Clone, Debug)]
pub struct Name {
    /// Such as `size` or `optional.of`.
    pub text: Box<str>,
    /// Offset in characters.
    pub at: usize,
}

/// An expression.
#[derive(Clone, Debug)]
pub enum Expr {
    /// A value.
    Literal(Value),
    /// A variable.
    Variable(Name),
    /// `of.field`, `of.?field`.
    Select { of: Box<Expr>, field: Box<str>, optional: bool },
    /// `has(of.field)`.
    Has { of: Box<Expr>, field: Box<str> },
    /// `of[index]`, `of[?index]`.
    Index { of: Box<Expr>, index: Box<Expr>, optional: bool },
    /// `name(arguments)`.
    Call { name: Name, arguments: Vec<Expr> },
    /// `target.name(arguments)`.
    Method { target: Box<Expr>, name: Name, arguments: Vec<Expr> },
    /// `[a, ?b]`.
    List(Vec<(Expr, bool)>),
    /// `{a: b, ?c: d}`.
    Map(Vec<(Expr, Expr, bool)>),
    /// `a && b && c`.
    And(Vec<Expr>),
    /// `a || b || c`.
    Or(Vec<Expr>),
    /// `!a`.
    Not(Box<Expr>),
    /// `-a`.
    Negate(Box<Expr>),
    /// `a ? b : c`.
    Choice(Box<(Expr, Expr, Expr)>),
    /// Two sides and what is between them.
    Binary(Binary, Box<(Expr, Expr)>),
    /// A macro over items.
    Loop(Box<Loop>),
    /// `cel.bind(name, value, body)`.
    Bind { name: Box<str>, parts: Box<(Expr, Expr)> },
    /// `optional.optMap(name, body)`; `flat` for `optFlatMap`.
    OptionalMap { name: Box<str>, parts: Box<(Expr, Expr)>, flat: bool },
}
