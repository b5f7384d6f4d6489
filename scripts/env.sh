# Sourced by the scripts: tools unpacked under the checkout come first, one place for the binary's path.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH=$root/.tools/bin:$PATH
LATEEN=${LATEEN_BIN:-$root/target/release/lateen}
