//! Expressions as tokens.

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A whole number; the sign is an operator.
    Int(u64),
    /// A number with `u`.
    Uint(u64),
    /// A number with a point or an exponent.
    Double(f64),
    /// A string.
    Text(String),
    /// A string with `b` before it.
    Bytes(Vec<u8>),
    /// A name.
    Name(String),
    /// Anything else.
    Symbol(&'static str),
    /// Nothing more.
    End,
}

const SYMBOLS: [&str; 27] = [
    "==", "!=", "<=", ">=", "&&", "||", ".?", "[?", "{?", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",",
    "(", ")", "[", "]", "{", "}",
];
const MAX_TOKENS: usize = 20_000;

/// Splits an expression; every token with its offset in characters.
pub fn split(source: &str) -> Result<Vec<(Token, usize)>, (usize, String)> {
    let chars: Vec<char> = source.chars().collect();
    let mut lexer = Lexer { chars: &chars, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        let token = lexer.next().map_err(|text| (start, text))?;
        let end = token == Token::End;
        tokens.push((token, start));
        if end {
            return Ok(tokens);
        }
        if tokens.len() > MAX_TOKENS {
            return Err((start, "expression code point size exceeds limit".into()));
        }
    }
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, offset: usize) -> char {
        self.chars.get(self.at + offset).copied().unwrap_or('\0')
    }

    fn skip_blank(&mut self) {
        loop {
            while self.at < self.chars.len() && self.peek(0).is_whitespace() {
                self.at += 1;
            }
            if self.peek(0) != '/' || self.peek(1) != '/' {
                return;
            }
            while self.at < self.chars.len() && self.peek(0) != '\n' {
                self.at += 1;
            }
        }
    }

    fn next(&mut self) -> Result<Token, String> {
        if self.at >= self.chars.len() {
            return Ok(Token::End);
        }
        let c = self.peek(0);
        if let Some(token) = self.string()? {
            return Ok(token);
        }
        if c.is_ascii_digit() || (c == '.' && self.peek(1).is_ascii_digit()) {
            return self.number();
        }
        if c.is_ascii_alphabetic() || c == '_' {
            return Ok(Token::Name(self.take_while(|c| c.is_ascii_alphanumeric() || c == '_')));
        }
        if c == '`' {
            return self.quoted_name();
        }
        for symbol in SYMBOLS {
            if symbol.chars().enumerate().all(|(i, s)| self.peek(i) == s) {
                self.at += symbol.len();
                return Ok(Token::Symbol(symbol));
            }
        }
        Err(format!("Syntax error: token recognition error at: '{c}'"))
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.at < self.chars.len() && wanted(self.peek(0)) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn quoted_name(&mut self) -> Result<Token, String> {
        self.at += 1;
        let name = self.take_while(|c| c != '`' && c != '\n');
        if self.peek(0) != '`' {
            return Err("Syntax error: unterminated quoted field name".into());
        }
        self.at += 1;
        Ok(Token::Name(name))
    }

    fn number(&mut self) -> Result<Token, String> {
        if self.peek(0) == '0' && matches!(self.peek(1), 'x' | 'X') {
            self.at += 2;
            let digits = self.take_while(|c| c.is_ascii_hexdigit());
            let number = u64::from_str_radix(&digits, 16).map_err(|_| "invalid int literal".to_owned())?;
            return Ok(self.whole(number));
        }
        let mut text = self.take_while(|c| c.is_ascii_digit());
        let mut double = false;
        if self.peek(0) == '.' && self.peek(1).is_ascii_digit() {
            double = true;
            self.at += 1;
            text = format!("{text}.{}", self.take_while(|c| c.is_ascii_digit()));
        }
        let signed = matches!(self.peek(1), '+' | '-') && self.peek(2).is_ascii_digit();
        if matches!(self.peek(0), 'e' | 'E') && (self.peek(1).is_ascii_digit() || signed) {
            double = true;
            text.push('e');
            self.at += 1;
            if signed {
                text.push(self.peek(0));
                self.at += 1;
            }
            text.push_str(&self.take_while(|c| c.is_ascii_digit()));
        }
        if double {
            return text.parse().map(Token::Double).map_err(|_| "invalid double literal".into());
        }
        let number = text.parse().map_err(|_| "invalid int literal".to_owned())?;
        Ok(self.whole(number))
    }

    fn whole(&mut self, number: u64) -> Token {
        if matches!(self.peek(0), 'u' | 'U') {
            self.at += 1;
            return Token::Uint(number);
        }
        Token::Int(number)
    }

    fn string(&mut self) -> Result<Option<Token>, String> {
        let (mut raw, mut bytes, mut offset) = (false, false, 0);
        loop {
            match self.peek(offset) {
                'r' | 'R' if !raw => raw = true,
                'b' | 'B' if !bytes => bytes = true,
                '"' | '\'' => break,
                _ => return Ok(None),
            }
            offset += 1;
        }
        self.at += offset;
        let quote = self.peek(0);
        let triple = self.peek(1) == quote && self.peek(2) == quote;
        self.at += if triple { 3 } else { 1 };
        let mut out = Vec::new();
        loop {
            if self.at >= self.chars.len() || (!triple && self.peek(0) == '\n') {
                return Err("Syntax error: unterminated string".into());
            }
            let c = self.peek(0);
            let closes = c == quote && (!triple || (self.peek(1) == quote && self.peek(2) == quote));
            if closes {
                self.at += if triple { 3 } else { 1 };
                break;
            }
            self.at += 1;
            if c == '\\' && !raw {
                self.escape(bytes, &mut out)?;
            } else {
                push(c, &mut out);
            }
        }
        if bytes {
            return Ok(Some(Token::Bytes(out)));
        }
        String::from_utf8(out).map(|text| Some(Token::Text(text))).map_err(|_| "invalid string literal".into())
    }

    fn escape(&mut self, bytes: bool, out: &mut Vec<u8>) -> Result<(), String> {
        let c = self.peek(0);
        self.at += 1;
        let plain = match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' | '\'' | '"' | '`' | '?' => c,
            'x' | 'X' => return self.code(2, 16, bytes, out),
            'u' => return self.code(4, 16, false, out),
            'U' => return self.code(8, 16, false, out),
            '0'..='3' => {
                self.at -= 1;
                return self.code(3, 8, bytes, out);
            }
            _ => return Err(format!("Syntax error: unknown escape '\\{c}'")),
        };
        push(plain, out);
        Ok(())
    }

    fn code(&mut self, digits: usize, radix: u32, byte: bool, out: &mut Vec<u8>) -> Result<(), String> {
        let bad = || "Syntax error: invalid escape in a string".to_owned();
        let end = self.at + digits;
        let text: String = self.chars.get(self.at..end).ok_or_else(bad)?.iter().collect();
        let code = u32::from_str_radix(&text, radix).map_err(|_| bad())?;
        self.at = end;
        if byte {
            out.push(u8::try_from(code).map_err(|_| bad())?);
        } else {
            push(char::from_u32(code).ok_or_else(bad)?, out);
        }
        Ok(())
    }
}

fn push(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
