//! Conditions of HTTP routes that no request ever reaches, because an earlier one takes all of theirs.

use super::cursor::{At, Report};

/// Warns about routes behind one that takes every request, and conditions behind a wider path prefix.
pub(super) fn warn(routes: &At<'_>, report: &mut Report) {
    let mut taken: Vec<(&str, String)> = Vec::new();
    let mut everything: Option<usize> = None;
    for (index, route) in routes.items().iter().enumerate() {
        if let Some(earlier) = everything {
            report.warn(route, format!("is never reached: route {earlier} takes every request"));
            continue;
        }
        let conditions = route.get("match").items();
        if conditions.is_empty() {
            everything = Some(index);
        }
        for (number, condition) in conditions.iter().enumerate() {
            let path = ["prefix", "exact"].iter().map(|kind| condition.get("uri").get(kind)).find(At::is_set);
            let wider = path.as_ref().and_then(|path| taken.iter().find(|(prefix, _)| path.text().starts_with(prefix)));
            if let Some((prefix, place)) = wider {
                report.warn(condition, format!("is never reached: {place} takes the paths that begin with {prefix}"));
            }
            if condition.has("uri") && is_only_prefix(condition) {
                taken.push((condition.get("uri").get("prefix").text(), format!("route {index}, match {number}")));
            }
        }
    }
}

/// The condition looks at the path's prefix and nothing else.
fn is_only_prefix(condition: &At<'_>) -> bool {
    let prefix = condition.get("uri").get("prefix");
    prefix.is_set()
        && !condition.get("ignoreUriCase").flag()
        && condition
            .entries()
            .iter()
            .all(|(name, field)| matches!(*name, "uri" | "name" | "ignoreUriCase" | "statPrefix") || field.is_blank())
}
