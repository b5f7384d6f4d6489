//! What the control plane says is trusted, in files that it keeps up to date: `root-cert.pem`, and `ca-crl.pem` beside it.

use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;

use super::identity::{Roots, certificates_in, revocation_lists};

/// Name of the file with revocation lists.
const REVOKED: &str = "ca-crl.pem";

/// The files, as they were when last read.
pub(super) struct TrustedFiles {
    roots: PathBuf,
    revoked: PathBuf,
    seen: Content,
    last: Option<Trusted>,
}

type Content = (Option<Vec<u8>>, Option<Vec<u8>>);

/// What the files say.
#[derive(Clone)]
pub(super) struct Trusted {
    /// The root under which certificates are signed now: the first in the file.
    pub(super) first: CertificateDer<'static>,
    pub(super) roots: Roots,
}

impl TrustedFiles {
    /// The file with roots; the other one is beside it.
    pub(super) fn new(roots: &Path) -> Self {
        TrustedFiles { roots: roots.to_owned(), revoked: roots.with_file_name(REVOKED), seen: (None, None), last: None }
    }

    /// Reads them; says what is new in them. What can't be used leaves the last good state in force.
    pub(super) async fn changed(&mut self) -> Option<&Trusted> {
        let content = (tokio::fs::read(&self.roots).await.ok(), tokio::fs::read(&self.revoked).await.ok());
        if content == self.seen {
            return None;
        }
        let parsed = parse(&content);
        self.seen = content;
        match parsed {
            Ok(Some(trusted)) => Some(self.last.insert(trusted)),
            Ok(None) => None,
            Err(error) => {
                let path = self.roots.display();
                tracing::warn!(%path, error, "what is trusted can't be read: trusting what was trusted before");
                None
            }
        }
    }

    /// What they said when they were last read.
    pub(super) fn last(&self) -> Option<&Trusted> {
        self.last.as_ref()
    }
}

/// Nothing if there is no file.
fn parse((roots, revoked): &Content) -> Result<Option<Trusted>, String> {
    let Some(pem) = roots else { return Ok(None) };
    let certificates = certificates_in(pem).map_err(|error| error.to_string())?;
    let first = certificates.first().cloned().ok_or("it holds no certificate")?;
    let mut roots = Roots::new(certificates).map_err(|error| error.to_string())?;
    if let Some(pem) = revoked {
        revocation_lists(pem)?;
        roots.revoked = Some(pem.as_slice().into());
    }
    Ok(Some(Trusted { first, roots }))
}
