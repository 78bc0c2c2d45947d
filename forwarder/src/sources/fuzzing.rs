//! A door for this repository's fuzzer (`infra/fuzz`).

use webhook_queue::BoxError;

use super::Sources;
use super::proof::Proof;

impl Sources {
    /// As [`crate::fuzzing::without_amazon`].
    pub(crate) fn without_amazon(&mut self, path: &str, certificate: &[u8]) -> Result<(), BoxError> {
        for source in &mut self.all {
            if let Proof::Topic(check) = &mut source.proof {
                check.isolate(path, certificate)?;
            }
        }
        Ok(())
    }
}
