//! Query parameters.

use crate::{
    engine::{DeleteOptions, FieldValidation, ListOptions, WriteOptions},
    selector::{FieldSelector, LabelSelector},
    status::{FieldError, Status},
};

/// Decodes `%41` (and `+` as a space where asked); none where the result is not UTF-8.
pub fn percent_decode(text: &str, plus: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' if plus => b' ',
            b'%' => {
                let hex = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

const MATCH: &str = "resourceVersionMatch";

fn refused(error: FieldError) -> Status {
    Status::invalid("meta.k8s.io", "ListOptions", "", &[error])
}

/// The parameters of a request.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads a query string; parameters that are not UTF-8 are left out.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((percent_decode(key, true)?, percent_decode(value, true)?))
        });
        Self { pairs: pairs.collect() }
    }

    /// The first value of a parameter; empty where it is absent.
    pub fn get(&self, key: &str) -> &str {
        self.pairs.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v)
    }

    /// All values of a parameter.
    pub fn all(&self, key: &str) -> Vec<&str> {
        self.pairs.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str()).collect()
    }

    /// Whether a parameter is set to true.
    pub fn flag(&self, key: &str) -> bool {
        let present = self.pairs.iter().any(|(k, _)| k == key);
        present && matches!(self.get(key), "" | "1" | "true" | "True" | "TRUE" | "t" | "T")
    }

    fn number(&self, key: &str) -> Result<Option<u64>, Status> {
        match self.get(key) {
            "" => Ok(None),
            text => {
                text.parse().map(Some).map_err(|_| Status::bad_request(format!("invalid value for {key}: {text:?}")))
            }
        }
    }

    fn dry_run(&self) -> Result<bool, Status> {
        match self.get("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => {
                Err(Status::bad_request(format!("dryRun: Unsupported value: {other:?}: supported values: \"All\"")))
            }
        }
    }

    /// Options of writes.
    pub fn write_options(&self) -> Result<WriteOptions, Status> {
        let validation = match self.get("fieldValidation") {
            "Strict" => FieldValidation::Strict,
            "Ignore" => FieldValidation::Ignore,
            "Warn" | "" => FieldValidation::Warn,
            other => {
                return Err(Status::bad_request(format!(
                    "fieldValidation: Unsupported value: {other:?}: supported values: \
                     \"Ignore\", \"Strict\", \"Warn\""
                )));
            }
        };
        Ok(WriteOptions {
            dry_run: self.dry_run()?,
            validation,
            manager: self.get("fieldManager").to_owned(),
            force: self.flag("force"),
            ..WriteOptions::default()
        })
    }

    /// Label and field selector.
    pub fn selectors(&self) -> Result<(LabelSelector, FieldSelector), Status> {
        let labels = LabelSelector::parse(self.get("labelSelector")).map_err(Status::bad_request)?;
        let fields = FieldSelector::parse(self.get("fieldSelector")).map_err(Status::bad_request)?;
        Ok((labels, fields))
    }

    /// The one object that a field selector leaves, if it names one.
    pub fn single_name(&self) -> Option<String> {
        let (_, fields) = self.selectors().ok()?;
        fields.required("metadata.name").map(str::to_owned)
    }

    /// `resourceVersion` as a number; 0 where absent.
    pub fn version(&self) -> Result<u64, Status> {
        Ok(self.number("resourceVersion")?.unwrap_or(0))
    }

    /// `timeoutSeconds`.
    pub fn timeout(&self) -> Result<Option<u64>, Status> {
        self.number("timeoutSeconds")
    }

    fn has(&self, key: &str) -> bool {
        !self.get(key).is_empty()
    }

    /// Refuses parameters that make no sense for a watch.
    pub fn check_watch(&self) -> Result<(), Status> {
        let initial = self.has("sendInitialEvents");
        let error = match self.get("resourceVersionMatch") {
            "" if initial => {
                FieldError::forbidden(MATCH, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
            }
            "" => return Ok(()),
            _ if !initial => {
                let text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                FieldError::forbidden(MATCH, text)
            }
            "NotOlderThan" => return Ok(()),
            other => FieldError::not_supported(MATCH, &other.into(), &["NotOlderThan"]),
        };
        Err(refused(error))
    }

    fn check_list(&self) -> Result<(), Status> {
        if self.has("sendInitialEvents") {
            return Err(refused(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")));
        }
        let version = self.get("resourceVersion");
        if self.has("continue") && !matches!(version, "" | "0") {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        let error = match self.get("resourceVersionMatch") {
            "" => return Ok(()),
            _ if self.has("continue") => {
                FieldError::forbidden(MATCH, "resourceVersionMatch is forbidden when continue is provided")
            }
            _ if version.is_empty() => {
                FieldError::forbidden(MATCH, "resourceVersionMatch is forbidden unless resourceVersion is provided")
            }
            "Exact" if version == "0" => {
                let text = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                FieldError::forbidden(MATCH, text)
            }
            "Exact" | "NotOlderThan" => return Ok(()),
            other => FieldError::not_supported(MATCH, &other.into(), &["Exact", "NotOlderThan", ""]),
        };
        Err(refused(error))
    }

    /// Options of list and deletecollection.
    pub fn list_options(&self) -> Result<ListOptions, Status> {
        self.check_list()?;
        let (labels, fields) = self.selectors()?;
        let limit = self.number("limit")?.unwrap_or(0);
        Ok(ListOptions {
            labels,
            fields,
            limit: usize::try_from(limit).unwrap_or(0),
            continue_token: self.get("continue").to_owned(),
            version: self.version()?,
            // Pages without a word on how to match are pages of that very version.
            exact: match self.get("resourceVersionMatch") {
                "" => limit > 0,
                how => how == "Exact",
            },
        })
    }

    /// Options of deletes, as far as they are in the query.
    pub fn delete_options(&self) -> Result<DeleteOptions, Status> {
        let policy = self.get("propagationPolicy");
        Ok(DeleteOptions {
            grace_period_seconds: self.number("gracePeriodSeconds")?.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
            propagation_policy: (!policy.is_empty()).then(|| policy.to_owned()),
            dry_run: self.dry_run()?,
            ..DeleteOptions::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("labelSelector=app%3Dx%2Cb+in+%28c%29&watch&limit=5&bad=%ff");
        assert_eq!(query.get("labelSelector"), "app=x,b in (c)");
        assert!(query.flag("watch"));
        assert_eq!(query.number("limit"), Ok(Some(5)));
        assert_eq!(query.get("bad"), "");
        assert!(Query::parse("limit=x").list_options().is_err());
        assert!(Query::parse("dryRun=Some").write_options().is_err());
    }
}
