//! The grammar of expressions, as the server's parser (actionlint's) accepts it.

use super::Fault;
use crate::value::Value;

/// Deepest nesting and longest chain of one expression. The server's stack is larger, but real
/// workflows stay far below.
const DEEPEST: u32 = 100;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Literal(Value),
    Variable(String),
    /// `a.b`
    Property(Box<Expr>, String),
    /// `a[b]`
    Index(Box<Expr>, Box<Expr>),
    /// `a.*`
    Each(Box<Expr>),
    Not(Box<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// `a && b && …`
    All(Vec<Expr>),
    /// `a || b || …`
    Any(Vec<Expr>),
    Call(String, Vec<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Number(Value),
    /// `(`, `)`, `[`, `]`, `.`, `!`, `*`, `,`
    Sign(char),
    Compare(Comparison),
    And,
    Or,
}

/// Parses an expression; text after a `}}` in it is ignored.
pub(super) fn parse(text: &str) -> Result<Expr, Fault> {
    let mut tokens = tokens(text)?;
    tokens.reverse();
    let mut parser = Parser { tokens, depth: 0 };
    let expr = parser.any()?;
    if parser.tokens.is_empty() { Ok(expr) } else { Err(syntax("more than one expression")) }
}

fn syntax(why: &str) -> Fault {
    Fault::Expression(why.to_owned())
}

fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(c) = rest.chars().next() else { return Ok(tokens) };
        let behind = &rest[c.len_utf8()..];
        let pair = |second: char| behind.strip_prefix(second);
        let (token, after) = match c {
            // The end always follows an expression, so one `}` is enough there.
            '}' if behind.is_empty() || behind.starts_with('}') => return Ok(tokens),
            'a'..='z' | 'A'..='Z' | '_' => {
                let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
                (Token::Name(rest[..end].to_owned()), &rest[end..])
            }
            '0'..='9' | '-' => number(rest)?,
            '\'' => quoted(behind)?,
            '(' | ')' | '[' | ']' | '.' | '*' | ',' => (Token::Sign(c), behind),
            '!' => match pair('=') {
                Some(after) => (Token::Compare(Comparison::NotEqual), after),
                None => (Token::Sign('!'), behind),
            },
            '<' => match pair('=') {
                Some(after) => (Token::Compare(Comparison::LessEqual), after),
                None => (Token::Compare(Comparison::Less), behind),
            },
            '>' => match pair('=') {
                Some(after) => (Token::Compare(Comparison::GreaterEqual), after),
                None => (Token::Compare(Comparison::Greater), behind),
            },
            '=' | '&' | '|' => {
                let after = pair(c).ok_or_else(|| syntax("incomplete operator"))?;
                let token = match c {
                    '=' => Token::Compare(Comparison::Equal),
                    '&' => Token::And,
                    _ => Token::Or,
                };
                (token, after)
            }
            _ => return Err(syntax("unexpected character")),
        };
        tokens.push(token);
        rest = after;
    }
}

/// A text after its opening `'`; `''` within it is one `'`.
fn quoted(rest: &str) -> Result<(Token, &str), Fault> {
    let mut text = String::new();
    let mut rest = rest;
    loop {
        let (before, after) = rest.split_once('\'').ok_or_else(|| syntax("unclosed text"))?;
        text.push_str(before);
        match after.strip_prefix('\'') {
            Some(behind) => {
                text.push('\'');
                rest = behind;
            }
            None => return Ok((Token::Text(text), after)),
        }
    }
}

fn number(text: &str) -> Result<(Token, &str), Fault> {
    let bad = || syntax("not a number");
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let sign = usize::from(text.starts_with('-'));
    let whole = digits(&text[sign..]);
    if whole == 0 {
        return Err(bad());
    }
    let mut end = sign + whole;
    if text[sign..].starts_with('0') {
        if let Some(hex) = text[sign..].strip_prefix("0x") {
            let length = hex.bytes().take_while(u8::is_ascii_hexdigit).count();
            let value = i64::from_str_radix(&hex[..length], 16).map_err(|_| bad())?;
            let value = if sign == 1 { -value } else { value };
            return integer(value, &hex[length..]);
        }
        let next = text[sign + 1..].chars().next();
        if next.is_some_and(|c| c.is_ascii_alphanumeric() && !matches!(c, 'e' | 'E')) {
            return Err(bad());
        }
    }
    let mut is_float = false;
    if text[end..].starts_with('.') {
        let part = digits(&text[end + 1..]);
        if part == 0 {
            return Err(bad());
        }
        (end, is_float) = (end + 1 + part, true);
    }
    if text[end..].starts_with(['e', 'E']) {
        let minus = usize::from(text[end + 1..].starts_with('-'));
        let part = digits(&text[end + 1 + minus..]);
        if part == 0 {
            return Err(bad());
        }
        (end, is_float) = (end + 1 + minus + part, true);
    }
    if !is_float {
        return integer(text[..end].parse().map_err(|_| bad())?, &text[end..]);
    }
    let value: f64 = text[..end].parse().map_err(|_| bad())?;
    if value.is_finite() {
        Ok((Token::Number(Value::Float(value)), &text[end..]))
    } else {
        Err(bad())
    }
}

/// Integers have 32 bits.
fn integer(value: i64, after: &str) -> Result<(Token, &str), Fault> {
    match i32::try_from(value) {
        Ok(value) => Ok((Token::Number(Value::Int(value.into())), after)),
        Err(_) => Err(syntax("an integer of more than 32 bits")),
    }
}

struct Parser {
    /// In reverse order.
    tokens: Vec<Token>,
    depth: u32,
}

impl Parser {
    fn eat(&mut self, token: &Token) -> bool {
        let is_next = self.tokens.last() == Some(token);
        if is_next {
            self.tokens.pop();
        }
        is_next
    }

    fn sign(&mut self, sign: char) -> bool {
        self.eat(&Token::Sign(sign))
    }

    /// Reads one level deeper.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Fault::Halt("an expression nests too deeply".to_owned()));
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn any(&mut self) -> Result<Expr, Fault> {
        self.chain(&Token::Or, Self::all, Expr::Any)
    }

    fn all(&mut self) -> Result<Expr, Fault> {
        self.chain(&Token::And, Self::compare, Expr::All)
    }

    fn chain(
        &mut self,
        operator: &Token,
        read: fn(&mut Self) -> Result<Expr, Fault>,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Result<Expr, Fault> {
        let first = read(self)?;
        if self.tokens.last() != Some(operator) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.eat(operator) {
            parts.push(read(self)?);
        }
        Ok(join(parts))
    }

    /// Comparisons bind to the right: `a == b == c` compares `a` with `b == c`.
    fn compare(&mut self) -> Result<Expr, Fault> {
        let left = self.prefix()?;
        let Some(&Token::Compare(comparison)) = self.tokens.last() else { return Ok(left) };
        self.tokens.pop();
        let right = self.deeper(Self::compare)?;
        Ok(Expr::Compare(comparison, Box::new(left), Box::new(right)))
    }

    fn prefix(&mut self) -> Result<Expr, Fault> {
        if self.sign('!') {
            let operand = self.deeper(Self::prefix)?;
            return Ok(Expr::Not(Box::new(operand)));
        }
        self.postfix()
    }

    fn postfix(&mut self) -> Result<Expr, Fault> {
        let mut expr = self.primary()?;
        for _ in 0..DEEPEST {
            expr = if self.sign('.') {
                if self.sign('*') {
                    Expr::Each(Box::new(expr))
                } else if let Some(Token::Name(name)) = self.tokens.last() {
                    let name = name.to_ascii_lowercase();
                    self.tokens.pop();
                    Expr::Property(Box::new(expr), name)
                } else {
                    return Err(syntax("no property after `.`"));
                }
            } else if self.sign('[') {
                let index = self.deeper(Self::any)?;
                if !self.sign(']') {
                    return Err(syntax("unclosed bracket"));
                }
                Expr::Index(Box::new(expr), Box::new(index))
            } else {
                return Ok(expr);
            };
        }
        Err(Fault::Halt("an expression nests too deeply".to_owned()))
    }

    fn primary(&mut self) -> Result<Expr, Fault> {
        match self.tokens.pop() {
            Some(Token::Name(name)) if self.sign('(') => {
                let arguments = self.deeper(Self::arguments)?;
                Ok(Expr::Call(name.to_ascii_lowercase(), arguments))
            }
            Some(Token::Name(name)) => Ok(match name.as_str() {
                "null" => Expr::Literal(Value::Null),
                "true" => Expr::Literal(Value::Bool(true)),
                "false" => Expr::Literal(Value::Bool(false)),
                _ => Expr::Variable(name.to_ascii_lowercase()),
            }),
            Some(Token::Sign('(')) => {
                let nested = self.deeper(Self::any)?;
                if self.sign(')') { Ok(nested) } else { Err(syntax("unclosed parenthesis")) }
            }
            Some(Token::Number(value)) => Ok(Expr::Literal(value)),
            Some(Token::Text(text)) => Ok(Expr::Literal(Value::text(text))),
            _ => Err(syntax("missing operand")),
        }
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, Fault> {
        let mut arguments = Vec::new();
        if self.sign(')') {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.any()?);
            if self.sign(')') {
                return Ok(arguments);
            }
            if !self.sign(',') {
                return Err(syntax("unclosed call"));
            }
        }
    }
}
