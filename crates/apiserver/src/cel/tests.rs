use serde_json::json;

use super::*;

fn evaluate(source: &str) -> Result<Value, String> {
    let object = json!({
        "name": "web", "replicas": 3, "ratio": 0.5, "list": [1, 2, 3], "names": ["b", "a"], "none": null,
        "labels": {"app": "x", "a-b": "y"}, "nested": {"deep": {"value": true}},
    });
    let program = Program::compile(source, &["self"])?;
    program.evaluate(&[("self", untyped(&object))], &Budget::new(CALL_BUDGET)).map_err(|fault| fault.to_string())
}

fn all_true(sources: &[&str]) {
    for source in sources {
        match evaluate(source) {
            Ok(Value::Bool(true)) => {}
            other => panic!("{source}: {other:?}"),
        }
    }
}

fn all_fail(cases: &[(&str, &str)]) {
    for (source, text) in cases {
        let error = evaluate(source).expect_err(source);
        assert!(error.contains(text), "{source}: {error}");
    }
}

#[test]
fn operators_and_precedence() {
    all_true(&[
        "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9",
        "7 / 2 == 3 && -7 / 2 == -3 && 7 % 4 == 3",
        "7.0 / 2.0 == 3.5 && 1 == 1.0 && 1u == 1 && 2 > 1.5",
        "true || 1 / 0 == 1",
        "1 / 0 == 1 || true",
        "!(false && 1 / 0 == 1)",
        "self.replicas > 2 ? self.name == 'web' : false",
        "'a' + 'b' == 'ab' && [1] + [2] == [1, 2] && b'a' + b'b' == b'ab'",
        "1 in [1, 2] && 'app' in self.labels && !(5 in self.list)",
        "{'a': 1}['a'] == 1 && {'a': 1} == {'a': 1.0} && {'a': 1}.a == 1",
        "-9223372036854775808 < 0 && 0x10 == 16 && 1e3 == 1000.0",
        r#"'\u00e9\x41\n' == "éA\n" && r'\n' == '\\n' && '''a'b''' == "a'b""#,
        "self.labels['a-b'] == 'y' && self.nested.deep.value",
        "type(1) == int && type('') == string && type([]) == list",
    ]);
}

#[test]
fn macros() {
    all_true(&[
        "has(self.name) && !has(self.missing) && !has(self.labels.missing)",
        "self.list.all(x, x > 0) && self.list.exists(x, x == 2) && self.list.exists_one(x, x == 3)",
        "self.list.filter(x, x > 1) == [2, 3] && self.list.map(x, x * 2) == [2, 4, 6]",
        "self.list.map(x, x > 1, x * 2) == [4, 6]",
        "self.labels.all(k, k.size() > 0) && self.labels.exists(k, v, v == 'y')",
        "self.list.all(i, v, v == i + 1) && self.list.transformList(i, v, v * i) == [0, 2, 6]",
        "self.labels.transformMap(k, v, v + '!') == {'app': 'x!', 'a-b': 'y!'}",
        "[0, 1].exists(x, 1 / x == 1) && ![0, 1].all(x, 1 / x > 5)",
        "cel.bind(n, self.replicas * 2, n + n == 12)",
        "self.names.sortBy(n, n) == ['a', 'b']",
    ]);
}

#[test]
fn optionals() {
    all_true(&[
        "self.?name.orValue('') == 'web' && self.?missing.orValue('x') == 'x'",
        "self.?missing.?deeper.hasValue() == false && optional.of(1).value() == 1",
        "self.list[?5].orValue(9) == 9 && {'a': 1}[?'b'].or(optional.of(2)).value() == 2",
        "[?self.?missing, 1] == [1] && {?'a': self.?name} == {'a': 'web'}",
        "self.?name.optMap(n, n + '!').value() == 'web!' && optional.ofNonZeroValue('').hasValue() == false",
        "self.?missing.optFlatMap(m, m.?x).hasValue() == false",
    ]);
    all_fail(&[("optional.none().value()", "optional.none() dereference")]);
}

#[test]
fn strings_and_lists() {
    all_true(&[
        "'hello'.size() == 5 && size('é') == 1 && 'hello'.contains('ell') && 'hello'.startsWith('he')",
        "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c'] && 'ab'.split('') == ['a', 'b']",
        "['a', 'b'].join('-') == 'a-b' && 'hello'.substring(1, 3) == 'el' && 'hello'.charAt(1) == 'e'",
        "'hello'.indexOf('l') == 2 && 'hello'.indexOf('l', 3) == 3 && 'hello'.lastIndexOf('l') == 3",
        "'abcabc'.lastIndexOf('abc', 2) == 0 && 'x'.indexOf('y') == -1",
        "'Hello'.lowerAscii() == 'hello' && ' x '.trim() == 'x' && 'aaa'.replace('a', 'b', 2) == 'bba'",
        "'abc'.matches('^a.c$') && 'a1b22'.find('[0-9]+') == '1' && 'a1b22'.findAll('[0-9]+') == ['1', '22']",
        "'%s=%d (%.2f)'.format(['n', 3, 1.5]) == 'n=3 (1.50)' && '%e'.format([1500.0]) == '1.500000e+03'",
        "[1, 2].sum() == 3 && [3, 1].min() == 1 && [3, 1].max() == 3 && [1, 2].isSorted() && [1, 1].distinct() == [1]",
        "[1, 2, 3].slice(1, 3) == [2, 3] && [[1], [2]].flatten() == [1, 2] && [3, 1].sort() == [1, 3]",
        "sets.contains([1, 2], [1]) && sets.equivalent([1, 1], [1]) && !sets.intersects([1], [2])",
        "math.greatest(1, 3, 2) == 3 && math.least([4, 2]) == 2 && math.abs(-1) == 1 && math.ceil(1.2) == 2.0",
        "base64.decode('aGk=') == b'hi' && string(b'hi') == 'hi' && strings.quote('a\"b') == '\"a\\\\\"b\"'",
    ]);
    all_fail(&[
        ("'abc'.substring(4)", "index out of range: 4"),
        ("[1][1]", "index out of bounds: 1"),
        ("self.missing", "no such key: missing"),
        ("int('acd')", "type conversion error from 'string' to 'int'"),
        ("1 / 0", "division by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("1 + 'a'", "no such overload: _+_(int, string)"),
        ("'a' < 1", "no such overload"),
    ]);
}

#[test]
fn times_addresses_and_quantities() {
    all_true(&[
        "duration('1h30m') == duration('90m') && duration('1ms') < duration('1s') && duration('-1.5s').getSeconds() == -1",
        "timestamp('2024-01-31T00:00:00Z') + duration('24h') == timestamp('2024-02-01T00:00:00Z')",
        "timestamp('2024-03-01T10:20:30Z').getMonth() == 2 && timestamp('2024-03-01T23:00:00Z').getDate('+02:00') == 2",
        "url('https://user@example.com:8080/a%20b?x=1&x=2').getHost() == 'example.com:8080'",
        "url('https://example.com:80/a b?x=1').getEscapedPath() == '/a%20b' && url('http://[::1]:1/').getHostname() == '::1'",
        "isURL('/path') && isURL('oci://x') && !isURL('#%blah$#@') && !isURL('test') && !isURL('http://#%blah$#@')",
        "url('file:///opt/x').getScheme() == 'file' && url('https://x?a=1&a=2').getQuery() == {'a': ['1', '2']}",
        "isIP('1.2.3.4') && !isIP('01.2.3.4') && ip('::1').isLoopback() && ip('fe80::1').family() == 6",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16'))",
        "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('::/0').prefixLength() == 0",
        "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('500m').add(quantity('0.5')) == quantity('1')",
        "isQuantity('1.5Ki') && !isQuantity('1x') && quantity('2k').asInteger() == 2000 && quantity('-1').sign() == -1",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1').isLessThan(semver('1.0.0')) && !isSemver('v1')",
        "!format.dns1123Label().validate('web').hasValue() && format.dns1123Label().validate('Web').hasValue()",
    ]);
}

#[test]
fn what_does_not_compile_says_where() {
    let cases = [
        ("self.", "<input>:1:6: Syntax error"),
        ("foo > 1", "ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')\n | foo > 1\n | ^"),
        ("self.list.frob(1)", "<input>:1:11: undeclared reference to 'frob'"),
        ("frob(1)", "undeclared reference to 'frob'"),
        ("has(self)", "invalid argument to has() macro"),
        ("1 +", "mismatched input '<EOF>'"),
        ("'abc", "unterminated string"),
        ("self namespace", "mismatched input 'namespace'"),
    ];
    for (source, text) in cases {
        let error = Program::compile(source, &["self"]).expect_err(source);
        assert!(error.contains(text), "{source}: {error}");
    }
    let deep = format!("{}1{}", "(".repeat(1000), ")".repeat(1000));
    assert!(Program::compile(&deep, &[]).unwrap_err().contains("recursion limit"));
    assert!(Program::compile(&"1+".repeat(5000), &[]).is_err());
}

#[test]
fn nothing_runs_without_bound() {
    let items: Vec<i64> = (0..2000).collect();
    let program = Program::compile("self.all(a, self.all(b, self.all(c, a + b + c >= 0)))", &["self"]).unwrap();
    let outcome = program.evaluate(&[("self", untyped(&json!(items)))], &Budget::new(CALL_BUDGET));
    assert_eq!(outcome.err(), Some(Fault::OverBudget));
}
