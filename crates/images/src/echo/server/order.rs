//! What a request's query asks of its answer: `codes`, `headers`, `delay`, `size`.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{go_duration::parse as duration, http_text::pairs};

/// The longest delay and the largest answer.
const LONGEST: Duration = Duration::from_secs(600);
const LARGEST: usize = 16 << 20;

/// The wishes of one request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Order {
    /// Statuses, each with its share of the chances.
    codes: Vec<(StatusCode, u32)>,
    pub headers: HeaderMap,
    pub delay: Duration,
    pub size: usize,
}

impl Order {
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut order = Order::default();
        for (name, value) in pairs(query) {
            match name.as_str() {
                "codes" => order.codes = codes(&value)?,
                "headers" => order.headers = headers(&value)?,
                "delay" => {
                    order.delay = duration(&value)
                        .filter(|delay| *delay <= LONGEST)
                        .ok_or_else(|| format!("delay={value}: not a duration up to 10m, such as 100ms or 1.5s"))?
                }
                "size" => {
                    order.size = value
                        .parse()
                        .ok()
                        .filter(|size| *size <= LARGEST)
                        .ok_or_else(|| format!("size={value}: not a number of bytes up to {LARGEST}"))?
                }
                _ => {}
            }
        }
        Ok(order)
    }

    /// The status that a throw of the dice gives.
    pub fn status(&self, dice: u32) -> StatusCode {
        let total: u32 = self.codes.iter().map(|(_, chance)| chance).sum();
        let mut left = if total == 0 { 0 } else { dice % total };
        for (code, chance) in &self.codes {
            if left < *chance {
                return *code;
            }
            left -= chance;
        }
        StatusCode::OK
    }
}

/// `code[:chance],...`; without chances all are equally likely.
fn codes(text: &str) -> Result<Vec<(StatusCode, u32)>, String> {
    let code = |word: &str| {
        let (code, chance) = word.split_once(':').unwrap_or((word, "1"));
        let code = code.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok())?;
        // 1xx are no answers.
        Some((code, chance.parse::<u16>().ok()?.into())).filter(|(code, _)| !code.is_informational())
    };
    text.split(',')
        .map(|word| code(word).ok_or_else(|| format!("codes={text}: {word:?} is not CODE or CODE:CHANCE")))
        .collect()
}

/// `name:value,...`.
fn headers(text: &str) -> Result<HeaderMap, String> {
    let header = |word: &str| {
        let (name, value) = word.split_once(':')?;
        Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?))
    };
    text.split(',')
        .map(|word| header(word).ok_or_else(|| format!("headers={text}: {word:?} is not NAME:VALUE")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_orders_status_headers_delay_and_size() {
        let order = Order::parse("x=y&codes=503&headers=x-a:1,x-b:two%20words&delay=1.5s&size=3").unwrap();
        assert_eq!(order.status(7), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(order.headers["x-b"], "two words");
        assert_eq!((order.delay, order.size), (Duration::from_millis(1500), 3));
        assert_eq!(Order::parse("").unwrap().status(7), StatusCode::OK);
    }

    #[test]
    fn statuses_come_as_often_as_their_chances_say() {
        let order = Order::parse("codes=500:90,200:10").unwrap();
        let failures = (0..100).filter(|dice| order.status(*dice) == StatusCode::INTERNAL_SERVER_ERROR).count();
        assert_eq!(failures, 90);
    }

    #[test]
    fn wrong_orders_are_refused_by_name() {
        for query in ["codes=abc", "codes=100", "headers=x", "delay=5", "delay=-1s", "delay=2h", "size=999999999"] {
            let name = query.split('=').next().unwrap();
            assert!(Order::parse(query).unwrap_err().starts_with(name), "{query}");
        }
    }
}
