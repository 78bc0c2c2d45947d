//! Which entity a web hook is about.

use webhook_queue::Event;

use crate::providers::{Unreadable, argument};

/// The entity that a [`Change`](super::Change) has happened to, by the event's type: the part of the URL after the source.
///
/// ```
/// use webhook_consumer::providers::e_conomic::{Change, Entity};
///
/// async fn changed(entity: Entity, change: Change) {
///     println!("{entity:?} {}", change.number());
/// }
/// # let _ = webhook_consumer::Router::<()>::new().on("e-conomic/*-updated", changed);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Entity {
    /// "Customer updated"
    Customer,
    /// "Product updated"
    Product,
    /// "Project updated"
    Project,
    /// "Order updated"
    Order,
    /// "Invoice updated": a draft
    Invoice,
    /// "Quote updated"
    Quote,
    /// "Employee updated"
    Employee,
    /// "Payment term updated"
    PaymentTerm,
    /// "Customer group updated"
    CustomerGroup,
    /// "Product group updated"
    ProductGroup,
    /// "Supplier updated"
    Supplier,
    /// "Supplier group updated"
    SupplierGroup,
    /// "Dimension"
    Dimension,
    /// "Chart of accounts updated"
    ChartOfAccounts,
    /// "Customer delivery location updated"
    CustomerDeliveryLocation,
    /// "Customer contact updated"
    CustomerContact,
    /// "Unit updated"
    Unit,
    /// "VAT account updated"
    VatAccount,
}

impl Entity {
    /// The entity of a type such as `product-updated`, `Product updated` or `PRODUCT_UPDATED`: e-conomic's own name of the
    /// web hook, of which capitals and everything but letters do not matter, nor whether "updated" is there.
    pub fn of(event_type: &str) -> Option<Entity> {
        let letters = event_type.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_lowercase());
        let name: String = letters.collect();
        Some(match name.strip_suffix("updated").unwrap_or(&name) {
            "customer" => Entity::Customer,
            "product" => Entity::Product,
            "project" => Entity::Project,
            "order" => Entity::Order,
            "invoice" => Entity::Invoice,
            "quote" => Entity::Quote,
            "employee" => Entity::Employee,
            "paymentterm" => Entity::PaymentTerm,
            "customergroup" => Entity::CustomerGroup,
            "productgroup" => Entity::ProductGroup,
            "supplier" => Entity::Supplier,
            "suppliergroup" => Entity::SupplierGroup,
            "dimension" => Entity::Dimension,
            "chartofaccounts" => Entity::ChartOfAccounts,
            "customerdeliverylocation" => Entity::CustomerDeliveryLocation,
            "customercontact" => Entity::CustomerContact,
            "unit" => Entity::Unit,
            "vataccount" => Entity::VatAccount,
            _ => return None,
        })
    }
}

impl TryFrom<&Event> for Entity {
    type Error = Unreadable;

    fn try_from(event: &Event) -> Result<Entity, Unreadable> {
        Entity::of(&event.event_type).ok_or_else(|| {
            Unreadable::new(
                "the event's type names no entity of e-conomic: the URL of a web hook should end like \
                 /webhooks/e-conomic/product-updated, with the web hook's own name",
            )
        })
    }
}
argument!(Entity);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_conomics_own_names_are_known_however_they_are_written() {
        for name in ["product-updated", "Product updated", "PRODUCT_UPDATED", "product"] {
            assert_eq!(Entity::of(name), Some(Entity::Product), "{name}");
        }
        let names = "Customer,Product,Project,Order,Invoice,Quote,Employee,Payment term,Customer group,Product group,\
            Supplier,Supplier group,Dimension,Chart of accounts,Customer delivery location,Customer contact,Unit,VAT account";
        let entities: Vec<Option<Entity>> = names.split(',').map(Entity::of).collect();
        assert!(entities.iter().all(Option::is_some));
        assert_eq!(format!("{:?}", entities.last().unwrap()), "Some(VatAccount)");
    }

    #[test]
    fn other_types_are_no_entities() {
        for name in ["", "webhook", "updated", "invoice-booked", "day-book-booked", "product-inventory-updated"] {
            assert_eq!(Entity::of(name), None, "{name}");
        }
    }
}
