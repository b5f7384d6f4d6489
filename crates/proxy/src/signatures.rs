//! Signatures of tokens.

use aws_lc_rs::signature as sign;
use aws_lc_rs::{constant_time, hmac};
use lateen_proxy_core::jwt::{Algorithm, Curve, KeyMaterial, Signatures};

/// Signatures as the crypto library checks them.
pub struct Checked;

impl Signatures for Checked {
    fn verify(&self, algorithm: Algorithm, key: &KeyMaterial, message: &[u8], signature: &[u8]) -> bool {
        match key {
            KeyMaterial::Rsa { n, e } => {
                let components = sign::RsaPublicKeyComponents { n: &**n, e: &**e };
                rsa(algorithm).is_some_and(|how| components.verify(how, message, signature).is_ok())
            }
            KeyMaterial::Elliptic { curve, point } => {
                let how: &dyn sign::VerificationAlgorithm = match curve {
                    Curve::P256 => &sign::ECDSA_P256_SHA256_FIXED,
                    Curve::P384 => &sign::ECDSA_P384_SHA384_FIXED,
                    Curve::P521 => &sign::ECDSA_P521_SHA512_FIXED,
                };
                sign::UnparsedPublicKey::new(how, point).verify(message, signature).is_ok()
            }
            KeyMaterial::Ed25519(point) => {
                sign::UnparsedPublicKey::new(&sign::ED25519, point).verify(message, signature).is_ok()
            }
            KeyMaterial::Secret(secret) => {
                let how = match algorithm {
                    Algorithm::Hs256 => hmac::HMAC_SHA256,
                    Algorithm::Hs384 => hmac::HMAC_SHA384,
                    Algorithm::Hs512 => hmac::HMAC_SHA512,
                    _ => return false,
                };
                let tag = hmac::sign(&hmac::Key::new(how, secret), message);
                constant_time::verify_slices_are_equal(tag.as_ref(), signature).is_ok()
            }
        }
    }
}

/// Keys of less than 2048 bits are too weak to be believed.
fn rsa(algorithm: Algorithm) -> Option<&'static sign::RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &sign::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &sign::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &sign::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &sign::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &sign::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &sign::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};

    use super::*;

    const MESSAGE: &[u8] = b"header.payload";

    /// A right signature is taken; for another message, or under another algorithm of the same key, it isn't.
    fn check(algorithm: Algorithm, other: Algorithm, key: &KeyMaterial, signature: &[u8]) {
        assert!(Checked.verify(algorithm, key, MESSAGE, signature), "{algorithm:?}");
        assert!(!Checked.verify(algorithm, key, b"header.forged", signature), "{algorithm:?}, forged");
        assert!(!Checked.verify(algorithm, key, MESSAGE, &signature[1..]), "{algorithm:?}, cut");
        assert!(!Checked.verify(algorithm, key, MESSAGE, b""), "{algorithm:?}, empty");
        if other != algorithm {
            assert!(!Checked.verify(other, key, MESSAGE, signature), "{algorithm:?} as {other:?}");
        }
    }

    #[test]
    fn rsa() {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key");
        let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
        let key = KeyMaterial::Rsa {
            n: n.big_endian_without_leading_zero().into(),
            e: e.big_endian_without_leading_zero().into(),
        };
        let ways: [(Algorithm, Algorithm, &dyn sign::RsaEncoding); 6] = [
            (Algorithm::Rs256, Algorithm::Ps256, &sign::RSA_PKCS1_SHA256),
            (Algorithm::Rs384, Algorithm::Rs256, &sign::RSA_PKCS1_SHA384),
            (Algorithm::Rs512, Algorithm::Rs256, &sign::RSA_PKCS1_SHA512),
            (Algorithm::Ps256, Algorithm::Rs256, &sign::RSA_PSS_SHA256),
            (Algorithm::Ps384, Algorithm::Ps256, &sign::RSA_PSS_SHA384),
            (Algorithm::Ps512, Algorithm::Hs256, &sign::RSA_PSS_SHA512),
        ];
        for (algorithm, other, how) in ways {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(how, &SystemRandom::new(), MESSAGE, &mut signature).expect("a signature");
            check(algorithm, other, &key, &signature);
        }
    }

    #[test]
    fn elliptic_curves() {
        for (algorithm, curve, how) in [
            (Algorithm::Es256, Curve::P256, &sign::ECDSA_P256_SHA256_FIXED_SIGNING),
            (Algorithm::Es384, Curve::P384, &sign::ECDSA_P384_SHA384_FIXED_SIGNING),
            (Algorithm::Es512, Curve::P521, &sign::ECDSA_P521_SHA512_FIXED_SIGNING),
        ] {
            let pair = EcdsaKeyPair::generate(how).expect("a key");
            let key = KeyMaterial::Elliptic { curve, point: pair.public_key().as_ref().into() };
            let signature = pair.sign(&SystemRandom::new(), MESSAGE).expect("a signature");
            check(algorithm, algorithm, &key, signature.as_ref());
        }
        let pair = Ed25519KeyPair::generate().expect("a key");
        let key = KeyMaterial::Ed25519(pair.public_key().as_ref().into());
        check(Algorithm::EdDsa, Algorithm::EdDsa, &key, pair.sign(MESSAGE).as_ref());
    }

    #[test]
    fn secrets() {
        let key = KeyMaterial::Secret(b"secret".as_slice().into());
        for (algorithm, how) in [
            (Algorithm::Hs256, hmac::HMAC_SHA256),
            (Algorithm::Hs384, hmac::HMAC_SHA384),
            (Algorithm::Hs512, hmac::HMAC_SHA512),
        ] {
            let tag = hmac::sign(&hmac::Key::new(how, b"secret"), MESSAGE);
            check(algorithm, Algorithm::Rs256, &key, tag.as_ref());
        }
    }
}
