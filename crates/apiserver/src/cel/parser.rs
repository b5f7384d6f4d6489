//! Tokens as expressions.

use super::{
    ast::{Binary, Expr, Name},
    lexer::{Token, split},
    macros,
    value::Value,
};

const MAX_DEPTH: usize = 60;
const MAX_CHAIN: usize = 200;
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
/// Names before the point of functions that are not methods.
const SPACES: [&str; 8] = ["optional", "sets", "math", "cel", "strings", "base64", "format", "lists"];

/// An error as Kubernetes' compiler prints it: where, why, and the line with a mark.
pub fn located(source: &str, at: usize, text: &str) -> String {
    let before: String = source.chars().take(at).collect();
    let line = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    let shown = source.lines().nth(line).unwrap_or_default();
    format!(
        "compilation failed: ERROR: <input>:{}:{}: {text}\n | {shown}\n | {}^",
        line + 1,
        column + 1,
        ".".repeat(column)
    )
}

/// Parses an expression.
pub fn parse(source: &str) -> Result<Expr, String> {
    let tokens = split(source).map_err(|(at, text)| located(source, at, &text))?;
    let mut parser = Parser { tokens, at: 0, depth: 0 };
    let parsed = parser.expression().and_then(|expr| match parser.peek() {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected("<EOF>")),
    });
    parsed.map_err(|(at, text)| located(source, at, &text))
}

type Parsed<T> = Result<T, (usize, String)>;

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    fn offset(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |(_, at)| *at)
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn takes(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(s) if *s == symbol);
        self.at += usize::from(found);
        found
    }

    fn expects(&mut self, symbol: &str) -> Parsed<()> {
        if self.takes(symbol) { Ok(()) } else { Err(self.unexpected(&format!("'{symbol}'"))) }
    }

    fn unexpected(&self, wanted: &str) -> (usize, String) {
        let found = match self.peek() {
            Token::End => "<EOF>".to_owned(),
            Token::Symbol(symbol) => (*symbol).to_owned(),
            Token::Name(name) => name.clone(),
            Token::Text(text) => format!("{text:?}"),
            Token::Int(n) | Token::Uint(n) => n.to_string(),
            Token::Double(n) => n.to_string(),
            Token::Bytes(_) => "bytes".into(),
        };
        (self.offset(), format!("Syntax error: mismatched input '{found}' expecting {wanted}"))
    }

    fn expression(&mut self) -> Parsed<Expr> {
        if self.depth >= MAX_DEPTH {
            return Err((self.offset(), format!("expression recursion limit exceeded: {MAX_DEPTH}")));
        }
        self.depth += 1;
        let expr = self.choice();
        self.depth -= 1;
        expr
    }

    fn choice(&mut self) -> Parsed<Expr> {
        let condition = self.or()?;
        if !self.takes("?") {
            return Ok(condition);
        }
        let yes = self.or()?;
        self.expects(":")?;
        let no = self.expression()?;
        Ok(Expr::Choice(Box::new((condition, yes, no))))
    }

    fn or(&mut self) -> Parsed<Expr> {
        let mut terms = vec![self.and()?];
        while self.takes("||") {
            terms.push(self.and()?);
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Expr::Or(terms) })
    }

    fn and(&mut self) -> Parsed<Expr> {
        let mut terms = vec![self.relation()?];
        while self.takes("&&") {
            terms.push(self.relation()?);
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Expr::And(terms) })
    }

    fn chain(&mut self, next: fn(&mut Self) -> Parsed<Expr>, operator: fn(&Token) -> Option<Binary>) -> Parsed<Expr> {
        let mut left = next(self)?;
        for _ in 0..MAX_CHAIN {
            let Some(found) = operator(self.peek()) else { return Ok(left) };
            self.at += 1;
            let right = next(self)?;
            left = Expr::Binary(found, Box::new((left, right)));
        }
        Err((self.offset(), format!("more than {MAX_CHAIN} operators in a row")))
    }

    fn relation(&mut self) -> Parsed<Expr> {
        self.chain(Self::sum, |token| {
            Some(match token {
                Token::Symbol("==") => Binary::Equal,
                Token::Symbol("!=") => Binary::NotEqual,
                Token::Symbol("<") => Binary::Less,
                Token::Symbol("<=") => Binary::LessOrEqual,
                Token::Symbol(">") => Binary::Greater,
                Token::Symbol(">=") => Binary::GreaterOrEqual,
                Token::Name(name) if name == "in" => Binary::In,
                _ => return None,
            })
        })
    }

    fn sum(&mut self) -> Parsed<Expr> {
        self.chain(Self::product, |token| match token {
            Token::Symbol("+") => Some(Binary::Add),
            Token::Symbol("-") => Some(Binary::Subtract),
            _ => None,
        })
    }

    fn product(&mut self) -> Parsed<Expr> {
        self.chain(Self::unary, |token| match token {
            Token::Symbol("*") => Some(Binary::Multiply),
            Token::Symbol("/") => Some(Binary::Divide),
            Token::Symbol("%") => Some(Binary::Remainder),
            _ => None,
        })
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let (mut nots, mut minuses) = (0_usize, 0_usize);
        while self.takes("!") {
            nots += 1;
        }
        while nots == 0 && self.takes("-") {
            minuses += 1;
        }
        if minuses % 2 == 1 {
            return self.negated();
        }
        let inner = self.member()?;
        Ok(match nots {
            0 => inner,
            n if n % 2 == 1 => Expr::Not(Box::new(inner)),
            _ => Expr::Not(Box::new(Expr::Not(Box::new(inner)))),
        })
    }

    /// The smallest int has no positive counterpart, so literals take their sign here.
    fn negated(&mut self) -> Parsed<Expr> {
        if let Token::Int(n) = *self.peek() {
            let at = self.offset();
            self.at += 1;
            let value = 0_i64.checked_sub_unsigned(n).ok_or((at, "invalid int literal".to_owned()))?;
            return self.postfix(Expr::Literal(Value::Int(value)));
        }
        Ok(match self.member()? {
            Expr::Literal(Value::Double(n)) => Expr::Literal(Value::Double(-n)),
            other => Expr::Negate(Box::new(other)),
        })
    }

    fn member(&mut self) -> Parsed<Expr> {
        let primary = self.primary()?;
        self.postfix(primary)
    }

    fn postfix(&mut self, mut expr: Expr) -> Parsed<Expr> {
        for _ in 0..MAX_CHAIN {
            let optional = self.takes(".?");
            if optional || self.takes(".") {
                expr = self.dotted(expr, optional)?;
            } else if self.takes("[?") || self.takes("[") {
                let optional = self.tokens[self.at - 1].0 == Token::Symbol("[?");
                let index = self.expression()?;
                self.expects("]")?;
                expr = Expr::Index { of: Box::new(expr), index: Box::new(index), optional };
            } else {
                return Ok(expr);
            }
        }
        Err((self.offset(), format!("more than {MAX_CHAIN} steps in a row")))
    }

    fn dotted(&mut self, of: Expr, optional: bool) -> Parsed<Expr> {
        let at = self.offset();
        let Token::Name(field) = self.peek().clone() else { return Err(self.unexpected("IDENTIFIER")) };
        self.at += 1;
        if optional || !self.takes("(") {
            return Ok(Expr::Select { of: Box::new(of), field: field.into(), optional });
        }
        let arguments = self.arguments(")")?;
        if let Expr::Variable(space) = &of
            && (SPACES.contains(&&*space.text) || (&*space.text == "ip" && field == "isCanonical"))
        {
            let name = Name { text: format!("{}.{field}", space.text).into(), at: space.at };
            return macros::call(name, arguments);
        }
        macros::method(of, Name { text: field.into(), at }, arguments)
    }

    fn arguments(&mut self, end: &str) -> Parsed<Vec<Expr>> {
        let mut list = Vec::new();
        while !self.takes(end) {
            list.push(self.expression()?);
            if !self.takes(",") {
                self.expects(end)?;
                break;
            }
        }
        Ok(list)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let at = self.offset();
        let literal = |value| Ok(Expr::Literal(value));
        match self.advance() {
            Token::Int(n) => match i64::try_from(n) {
                Ok(n) => literal(Value::Int(n)),
                Err(_) => Err((at, "invalid int literal".into())),
            },
            Token::Uint(n) => literal(Value::Uint(n)),
            Token::Double(n) => literal(Value::Double(n)),
            Token::Text(text) => literal(text.into()),
            Token::Bytes(bytes) => literal(Value::Bytes(bytes.into())),
            Token::Symbol("(") => {
                let inner = self.expression()?;
                self.expects(")")?;
                Ok(inner)
            }
            Token::Symbol("[") => self.list(),
            Token::Symbol("[?") => {
                self.at -= 1;
                self.tokens[self.at].0 = Token::Symbol("?");
                self.list()
            }
            Token::Symbol("{") => self.map(),
            Token::Symbol("{?") => {
                self.at -= 1;
                self.tokens[self.at].0 = Token::Symbol("?");
                self.map()
            }
            Token::Symbol(".") => self.primary(),
            Token::Name(name) => self.named(name, at),
            _ => {
                self.at -= 1;
                Err(self.unexpected("an expression"))
            }
        }
    }

    fn named(&mut self, name: String, at: usize) -> Parsed<Expr> {
        match name.as_str() {
            "true" => return Ok(Expr::Literal(Value::Bool(true))),
            "false" => return Ok(Expr::Literal(Value::Bool(false))),
            "null" => return Ok(Expr::Literal(Value::Null)),
            reserved if RESERVED.contains(&reserved) => {
                return Err((at, format!("Syntax error: reserved identifier: {reserved}")));
            }
            "in" => return Err((at, "Syntax error: mismatched input 'in' expecting an expression".into())),
            _ => {}
        }
        let name = Name { text: name.into(), at };
        if self.takes("(") {
            let arguments = self.arguments(")")?;
            return macros::call(name, arguments);
        }
        Ok(Expr::Variable(name))
    }

    fn list(&mut self) -> Parsed<Expr> {
        let mut items = Vec::new();
        while !self.takes("]") {
            let optional = self.takes("?");
            items.push((self.expression()?, optional));
            if !self.takes(",") {
                self.expects("]")?;
                break;
            }
        }
        Ok(Expr::List(items))
    }

    fn map(&mut self) -> Parsed<Expr> {
        let mut entries = Vec::new();
        while !self.takes("}") {
            let optional = self.takes("?");
            let key = self.expression()?;
            self.expects(":")?;
            entries.push((key, self.expression()?, optional));
            if !self.takes(",") {
                self.expects("}")?;
                break;
            }
        }
        Ok(Expr::Map(entries))
    }
}
