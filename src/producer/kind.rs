//! Who may produce.

use crate::ring::multi::MultiSequencer;
use crate::ring::sequencer::Sequencer;
use crate::ring::single::SingleSequencer;

/// One producer: not `Clone`, and no locked instruction on its way.
#[derive(Debug)]
pub enum Single {}

/// Any number of producers: `Clone`.
#[derive(Debug)]
pub enum Multi {}

/// Who may produce: [`Single`] or [`Multi`]. Sealed.
pub trait ProducerKind: sealed::Sealed + 'static {}
impl ProducerKind for Single {}
impl ProducerKind for Multi {}

pub(crate) mod sealed {
    use super::{MultiSequencer, Sequencer, SingleSequencer};

    #[allow(unnameable_types, reason = "that is what seals it")]
    pub trait Sealed {
        #[doc(hidden)]
        type Sequencer: Sequencer + Send;
    }
    impl Sealed for super::Single {
        type Sequencer = SingleSequencer;
    }
    impl Sealed for super::Multi {
        type Sequencer = MultiSequencer;
    }
}
