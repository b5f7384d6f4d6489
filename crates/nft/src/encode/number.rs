//! Numbers of the kernel's nf_tables interface (`linux/netfilter/nf_tables.h`).

pub(crate) const NESTED: u16 = 0x8000;
pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;
pub(crate) const NFNL_SUBSYS: u16 = 10;
pub(crate) const NFNL_BATCH_BEGIN: u16 = 16;
pub(crate) const NFNL_BATCH_END: u16 = 17;

/// Message kinds.
pub(crate) mod msg {
    pub(crate) const NEW_TABLE: u16 = 0;
    pub(crate) const DEL_TABLE: u16 = 2;
    pub(crate) const NEW_CHAIN: u16 = 3;
    pub(crate) const DEL_CHAIN: u16 = 5;
    pub(crate) const NEW_RULE: u16 = 6;
    pub(crate) const DEL_RULE: u16 = 8;
    pub(crate) const NEW_SET: u16 = 9;
    pub(crate) const DEL_SET: u16 = 11;
    pub(crate) const NEW_SET_ELEM: u16 = 12;
    pub(crate) const DEL_SET_ELEM: u16 = 14;
}

/// Attributes of tables, chains, rules, sets and their elements.
pub(crate) mod attr {
    pub(crate) const TABLE_NAME: u16 = 1;
    pub(crate) const TABLE_FLAGS: u16 = 2;
    pub(crate) const CHAIN_TABLE: u16 = 1;
    pub(crate) const CHAIN_NAME: u16 = 3;
    pub(crate) const CHAIN_HOOK: u16 = 4;
    pub(crate) const CHAIN_POLICY: u16 = 5;
    pub(crate) const CHAIN_TYPE: u16 = 7;
    pub(crate) const HOOK_NUMBER: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;
    pub(crate) const RULE_TABLE: u16 = 1;
    pub(crate) const RULE_CHAIN: u16 = 2;
    pub(crate) const RULE_EXPRESSIONS: u16 = 4;
    pub(crate) const LIST_ELEM: u16 = 1;
    pub(crate) const EXPR_NAME: u16 = 1;
    pub(crate) const EXPR_DATA: u16 = 2;
    pub(crate) const SET_TABLE: u16 = 1;
    pub(crate) const SET_NAME: u16 = 2;
    pub(crate) const SET_FLAGS: u16 = 3;
    pub(crate) const SET_KEY_TYPE: u16 = 4;
    pub(crate) const SET_KEY_LEN: u16 = 5;
    pub(crate) const SET_DATA_TYPE: u16 = 6;
    pub(crate) const SET_DATA_LEN: u16 = 7;
    pub(crate) const SET_DESC: u16 = 9;
    pub(crate) const SET_ID: u16 = 10;
    pub(crate) const SET_TIMEOUT: u16 = 11;
    pub(crate) const DESC_SIZE: u16 = 1;
    pub(crate) const ELEMS_TABLE: u16 = 1;
    pub(crate) const ELEMS_SET: u16 = 2;
    pub(crate) const ELEMS_LIST: u16 = 3;
    pub(crate) const ELEMS_SET_ID: u16 = 4;
    pub(crate) const ELEM_KEY: u16 = 1;
    pub(crate) const ELEM_DATA: u16 = 2;
    pub(crate) const DATA_VALUE: u16 = 1;
    pub(crate) const DATA_VERDICT: u16 = 2;
    pub(crate) const VERDICT_CODE: u16 = 1;
    pub(crate) const VERDICT_CHAIN: u16 = 2;
}

pub(crate) const TABLE_F_OWNER: u32 = 2;
pub(crate) const SET_F_ANONYMOUS: u32 = 1;
pub(crate) const SET_F_CONSTANT: u32 = 2;
pub(crate) const SET_F_MAP: u32 = 8;
pub(crate) const SET_F_TIMEOUT: u32 = 0x10;
/// Rules may add elements.
pub(crate) const SET_F_DYNAMIC: u32 = 0x20;
pub(crate) const DYNSET_UPDATE: u32 = 1;
pub(crate) const DATA_TYPE_VERDICT: u32 = 0xffff_ff00;

/// Data types as the `nft` tool numbers them, so that it can list our sets.
pub(crate) mod data_type {
    pub(crate) const INTEGER: u32 = 4;
    pub(crate) const IPV4_ADDR: u32 = 7;
    pub(crate) const IPV6_ADDR: u32 = 8;
    pub(crate) const INET_PROTO: u32 = 12;
    pub(crate) const INET_SERVICE: u32 = 13;
    pub(crate) const CONCAT_BITS: u32 = 6;
}

/// Registers: the verdict, two of 16 bytes, and the same room as words of 4 bytes.
pub(crate) mod reg {
    pub(crate) const VERDICT: u32 = 0;
    pub(crate) const R1: u32 = 1;
    pub(crate) const R2: u32 = 2;
    pub(crate) const WORD0: u32 = 8;
}

pub(crate) const VERDICT_DROP: i32 = 0;
pub(crate) const VERDICT_ACCEPT: i32 = 1;
pub(crate) const VERDICT_JUMP: i32 = -3;
pub(crate) const VERDICT_GOTO: i32 = -4;
pub(crate) const VERDICT_RETURN: i32 = -5;

/// Keys of `meta`.
pub(crate) mod meta {
    pub(crate) const MARK: u32 = 3;
    pub(crate) const IIFNAME: u32 = 6;
    pub(crate) const OIFNAME: u32 = 7;
    pub(crate) const SKUID: u32 = 10;
    pub(crate) const SKGID: u32 = 11;
    pub(crate) const NFPROTO: u32 = 15;
    pub(crate) const L4PROTO: u32 = 16;
}

/// Keys of `ct`.
pub(crate) mod ct {
    pub(crate) const STATE: u32 = 0;
    pub(crate) const STATUS: u32 = 2;
    pub(crate) const MARK: u32 = 3;
    pub(crate) const ZONE: u32 = 17;
    pub(crate) const STATUS_DST_NAT: u32 = 32;
}

pub(crate) const PAYLOAD_NETWORK: u32 = 1;
pub(crate) const PAYLOAD_TRANSPORT: u32 = 2;
pub(crate) const FIB_RESULT_ADDRTYPE: u32 = 3;
pub(crate) const FIB_F_DADDR: u32 = 2;
pub(crate) const RTN_LOCAL: u32 = 2;
pub(crate) const NFPROTO_IPV4: u8 = 2;
pub(crate) const NFPROTO_IPV6: u8 = 10;
pub(crate) const NAT_SNAT: u32 = 0;
pub(crate) const NAT_DNAT: u32 = 1;
