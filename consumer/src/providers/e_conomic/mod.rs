//! e-conomic's web hooks, as they are set up in its user interface.
//!
//! Such a web hook carries what its user has written around e-conomic's merge fields, in the URL or under "Data posted",
//! whatever content type is chosen beside it. What is read here, under these names:
//!
//! | web hook | argument | names, and the merge field behind each |
//! |---|---|---|
//! | "… updated", Dimension | [`Change`] | `newnumber`, `new`: `[NEWNUMBER]`; `oldnumber`, `old`: `[OLDNUMBER]` |
//! | Invoice booked | [`InvoiceBooked`] | `invoiceno`, `number`: `[INVOICENO]` |
//! | Day book booked | [`DayBookBooked`] | `daybookno`, `book`: `[DAYBOOKNO]`; `fromserialno`, `from`: `[FROMSERIALNO]`; `toserialno`, `to`: `[TOSERIALNO]` |
//! | Product inventory updated | [`InventoryUpdated`] | `number`: `[NUMBER]` |
//!
//! Capitals, `_` and `-` in a name make no difference, and of several names the first in the table counts. A [`Change`] can
//! also be two values without names, `[OLDNUMBER]&[NEWNUMBER]`. A name may be in the URL, in the data, or in both if they
//! agree. e-conomic does not say how it encodes what it fills in: values are read as those of a form are (`%C3%B8`, `+`),
//! as UTF-8, else as Latin-1, without the white space around them. A value such as `[NEWNUMER]` is a merge field that the
//! web hook does not have: it stands for nothing, and makes the event unreadable.
//!
//! Which web hook it is, nobody says but the URL: it names the type, `/webhooks/e-conomic/product-updated`, and the
//! router's pattern is that type. Where one handler serves several, [`Entity`] tells them apart.
//!
//! What e-conomic's Webhooks API sends in its bodies is not documented: take an [`Event`] or a [`Json`](crate::Json) there.
//!
//! ```
//! use webhook_consumer::Router;
//! use webhook_consumer::providers::e_conomic::{Change, InvoiceBooked};
//! use webhook_consumer::testing::{End, Kit, event};
//!
//! async fn product(change: Change) {
//!     match change {
//!         Change::Created { number } | Change::Updated { number } => println!("fetch product {number}"),
//!         Change::Renumbered { old, new } => println!("product {old} is {new} now"),
//!         Change::Deleted { number } => println!("forget product {number}"),
//!     }
//! }
//!
//! async fn invoice(InvoiceBooked { number }: InvoiceBooked) {
//!     println!("fetch invoice {number}");
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let router = Router::new().on("e-conomic/product-updated", product).on("e-conomic/invoice-booked", invoice);
//! // In a test:
//! let kit = Kit::new(router).unwrap();
//! let updated = event("e-conomic/product-updated").query("newnumber=33&oldnumber=33");
//! assert_eq!(kit.deliver(updated).await.end, End::Acked);
//! let booked = event("e-conomic/invoice-booked").form(&[("number", "10001")]);
//! assert_eq!(kit.deliver(booked).await.end, End::Acked);
//! # }
//! ```

mod entity;
mod fields;

use webhook_queue::Event;

use super::{Unreadable, argument};
use fields::{Field, Fields};

pub use entity::Entity;

const NEW_NUMBER: Field = Field(&["newnumber", "new"]);
const OLD_NUMBER: Field = Field(&["oldnumber", "old"]);
const INVOICE_NO: Field = Field(&["invoiceno", "number"]);
const DAY_BOOK_NO: Field = Field(&["daybookno", "book"]);
const FROM_SERIAL_NO: Field = Field(&["fromserialno", "from"]);
const TO_SERIAL_NO: Field = Field(&["toserialno", "to"]);
const NUMBER: Field = Field(&["number"]);

/// What has happened to an entity that has a number. [`Entity`] says which.
///
/// The numbers are as e-conomic writes them. That of a draft invoice is its `soap.currentInvoiceHandle.id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// There is a new entity.
    Created {
        /// Its number.
        number: String,
    },
    /// The entity is gone.
    Deleted {
        /// The number that it had.
        number: String,
    },
    /// Something about the entity is different.
    Updated {
        /// Its number.
        number: String,
    },
    /// The entity has another number, and something else about it may be different, too.
    Renumbered {
        /// The number that it had.
        old: String,
        /// The number that it has now.
        new: String,
    },
}

impl Change {
    /// What the two merge fields mean by e-conomic's rule; nothing where both are blank. For data in a form of your own.
    ///
    /// ```
    /// # use webhook_consumer::providers::e_conomic::Change;
    /// assert_eq!(Change::of("", "33"), Some(Change::Created { number: "33".into() }));
    /// ```
    pub fn of(old_number: &str, new_number: &str) -> Option<Change> {
        Some(match (old_number.trim().to_owned(), new_number.trim().to_owned()) {
            (old, new) if old.is_empty() && new.is_empty() => return None,
            (old, number) if old.is_empty() => Change::Created { number },
            (number, new) if new.is_empty() => Change::Deleted { number },
            (old, number) if old == number => Change::Updated { number },
            (old, new) => Change::Renumbered { old, new },
        })
    }

    /// The number that the entity has now, or had last.
    pub fn number(&self) -> &str {
        match self {
            Change::Created { number } | Change::Deleted { number } | Change::Updated { number } => number,
            Change::Renumbered { new, .. } => new,
        }
    }
}

impl TryFrom<&Event> for Change {
    type Error = Unreadable;

    fn try_from(event: &Event) -> Result<Change, Unreadable> {
        let fields = Fields::new(event, "newnumber=[NEWNUMBER]&oldnumber=[OLDNUMBER]");
        let (old, new) = match (fields.find(OLD_NUMBER)?, fields.find(NEW_NUMBER)?) {
            (None, None) => fields.two_without_names()?.ok_or_else(|| fields.missing(NEW_NUMBER))?,
            (None, Some(_)) => return Err(fields.missing(OLD_NUMBER)),
            (Some(_), None) => return Err(fields.missing(NEW_NUMBER)),
            (Some(old), Some(new)) => (old, new),
        };
        Change::of(&old, &new).ok_or_else(|| fields.problem("both numbers are blank, so nothing is named"))
    }
}
argument!(Change);

/// An invoice was booked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InvoiceBooked {
    /// The number of the booked invoice.
    pub number: String,
}

impl TryFrom<&Event> for InvoiceBooked {
    type Error = Unreadable;

    fn try_from(event: &Event) -> Result<InvoiceBooked, Unreadable> {
        let fields = Fields::new(event, "invoiceno=[INVOICENO]");
        Ok(InvoiceBooked { number: fields.filled(INVOICE_NO)? })
    }
}
argument!(InvoiceBooked);

/// A day book was booked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DayBookBooked {
    /// The number of the day book.
    pub number: String,
    /// The serial number of the first booked entry.
    pub from_serial: String,
    /// The serial number of the last booked entry.
    pub to_serial: String,
}

impl TryFrom<&Event> for DayBookBooked {
    type Error = Unreadable;

    fn try_from(event: &Event) -> Result<DayBookBooked, Unreadable> {
        let setup = "daybookno=[DAYBOOKNO]&fromserialno=[FROMSERIALNO]&toserialno=[TOSERIALNO]";
        let fields = Fields::new(event, setup);
        Ok(DayBookBooked {
            number: fields.filled(DAY_BOOK_NO)?,
            from_serial: fields.filled(FROM_SERIAL_NO)?,
            to_serial: fields.filled(TO_SERIAL_NO)?,
        })
    }
}
argument!(DayBookBooked);

/// The inventory of a product is different: how many are in stock, on order, available or ordered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InventoryUpdated {
    /// The number of the product.
    pub number: String,
}

impl TryFrom<&Event> for InventoryUpdated {
    type Error = Unreadable;

    fn try_from(event: &Event) -> Result<InventoryUpdated, Unreadable> {
        let fields = Fields::new(event, "number=[NUMBER]");
        Ok(InventoryUpdated { number: fields.filled(NUMBER)? })
    }
}
argument!(InventoryUpdated);

#[cfg(test)]
mod tests;
