//! The merge fields of e-conomic's legacy web hooks: what its users write into a URL, and it replaces by numbers.

const ALL: [&str; 7] =
    ["[NEWNUMBER]", "[OLDNUMBER]", "[INVOICENO]", "[DAYBOOKNO]", "[FROMSERIALNO]", "[TOSERIALNO]", "[NUMBER]"];

/// The part of a query that holds those of a type of web hook, whose name is e-conomic's own in small letters, with hyphens.
/// A type of the Webhooks API, in capitals, has none.
#[cfg(feature = "standalone")]
pub(super) fn of(event_type: &str) -> Option<&'static str> {
    match event_type {
        "invoice-booked" => Some("&invoiceno=[INVOICENO]"),
        "day-book-booked" => Some("&daybookno=[DAYBOOKNO]&fromserialno=[FROMSERIALNO]&toserialno=[TOSERIALNO]"),
        "product-inventory-updated" => Some("&number=[NUMBER]"),
        name if name == "dimension" || name.ends_with("-updated") => {
            Some("&newnumber=[NEWNUMBER]&oldnumber=[OLDNUMBER]")
        }
        name if name.starts_with(char::is_uppercase) && !name.contains(char::is_lowercase) => Some(""),
        _ => None,
    }
}

/// Whether text is a merge field, left as it was written: of none but those, no web hook was sent, and somebody looked where a
/// link leads.
pub(super) fn is_one(text: &str) -> bool {
    ALL.iter().any(|field| text.eq_ignore_ascii_case(field))
}

#[cfg(all(test, feature = "standalone"))]
mod tests {
    use super::*;
    use crate::query;

    #[test]
    fn every_type_has_its_own() {
        assert_eq!(of("product-updated"), of("vat-account-updated"));
        assert_eq!(of("product-updated"), of("dimension"));
        assert_eq!((of("INVOICE_BOOKED"), of("product-update"), of("")), (Some(""), None, None));
        assert_eq!((of("Invoice-booked"), of("Dimension")), (None, None));
        let of_all = ["product-updated", "invoice-booked", "day-book-booked", "product-inventory-updated"].map(of);
        let of_all = of_all.map(Option::unwrap).concat();
        let used: Vec<&str> = query::pairs(&of_all[1..]).map(|(_, _, value)| value).collect();
        assert_eq!(used, ALL);
        assert!(used.into_iter().all(is_one) && is_one("[newnumber]"));
        assert!(!is_one("NEWNUMBER") && !is_one("[33]") && !is_one(""));
    }
}
