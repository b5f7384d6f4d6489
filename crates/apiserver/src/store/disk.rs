//! The database file: one table of objects, one of counters.

use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Key, commit::Pending, stored::Stored};

const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
const VERSION: &str = "resourceVersion";
const CACHE_BYTES: usize = 4 << 20;

/// Anything that can go wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("{0}")]
    Redb(Box<redb::Error>),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the object at {key:?} is not JSON: {source}")]
    Json { key: String, source: serde_json::Error },
}

impl<E: Into<redb::Error>> From<E> for DiskError
where
    E: RedbError,
{
    fn from(error: E) -> Self {
        Self::Redb(Box::new(error.into()))
    }
}

/// The errors of redb's several steps.
pub trait RedbError {}
impl RedbError for redb::DatabaseError {}
impl RedbError for redb::TransactionError {}
impl RedbError for redb::TableError {}
impl RedbError for redb::StorageError {}
impl RedbError for redb::CommitError {}
impl RedbError for redb::SetDurabilityError {}

pub struct Disk {
    database: Database,
}

impl Disk {
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(path)?;
        let transaction = database.begin_write()?;
        transaction.open_table(OBJECTS)?;
        transaction.open_table(COUNTERS)?;
        transaction.commit()?;
        Ok(Self { database })
    }

    pub fn load(&self) -> Result<(Vec<(Key, Stored)>, u64), DiskError> {
        let transaction = self.database.begin_read()?;
        let version = transaction.open_table(COUNTERS)?.get(VERSION)?.map_or(1, |guard| guard.value());
        let mut objects = Vec::new();
        for row in transaction.open_table(OBJECTS)?.iter()? {
            let (key, value) = row?;
            let text = key.value();
            if let Some(key) = decode(text) {
                let stored = Stored::decode(&key.collection, value.value())
                    .map_err(|source| DiskError::Json { key: text.to_owned(), source })?;
                objects.push((key, stored));
            }
        }
        Ok((objects, version))
    }

    pub fn commit(&self, batch: &[Pending]) -> Result<(), DiskError> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut objects = transaction.open_table(OBJECTS)?;
            for pending in batch {
                let key = encode(&pending.key);
                if pending.removed {
                    objects.remove(key.as_str())?;
                } else {
                    objects.insert(key.as_str(), pending.object.bytes())?;
                }
            }
            let newest = batch.iter().map(|p| p.version).max().unwrap_or(0);
            transaction.open_table(COUNTERS)?.insert(VERSION, newest)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

fn encode(key: &Key) -> String {
    format!("{}\0{}\0{}", key.collection, key.namespace, key.name)
}

fn decode(text: &str) -> Option<Key> {
    let mut parts = text.splitn(3, '\0');
    Some(Key { collection: parts.next()?.into(), namespace: parts.next()?.into(), name: parts.next()?.into() })
}
