use super::*;
use crate::testing::event;

fn web_hook(query: &str, body: &[u8]) -> Event {
    event("e-conomic/product-updated").query(query).body(body.to_vec()).build()
}

fn change(query: &str, body: impl AsRef<[u8]>) -> Change {
    Change::try_from(&web_hook(query, body.as_ref())).unwrap()
}

/// What is wrong, without what to set up.
fn wrong<T: for<'a> TryFrom<&'a Event, Error = Unreadable>>(query: &str, body: &str) -> String {
    let error = T::try_from(&web_hook(query, body.as_bytes())).err().unwrap().to_string();
    let (_, what) = error.split_once("cannot be read: ").unwrap();
    what.split_once(';').unwrap().0.to_owned()
}

fn updated(number: &str) -> Change {
    Change::Updated { number: number.to_owned() }
}

#[test]
fn old_and_new_number_say_what_has_happened() {
    let number = || "33".to_owned();
    for (pairs, expected) in [
        ("newnumber=33&oldnumber=33", updated("33")),
        ("newnumber=33&oldnumber=", Change::Created { number: number() }),
        ("newnumber=&oldnumber=33", Change::Deleted { number: number() }),
        ("newnumber=34&oldnumber=33", Change::Renumbered { old: number(), new: "34".to_owned() }),
    ] {
        assert_eq!(change(pairs, ""), expected);
        assert_eq!(change("", pairs), expected);
        assert_eq!(change("tenant=1&type=x", pairs), expected);
        assert_eq!(change(pairs, "{\"any\": \"other & body\"}"), expected);
    }
    assert_eq!(change("newnumber=34&oldnumber=33", "").number(), "34");
    assert_eq!(change("newnumber=&oldnumber=33", "").number(), "33");
}

#[test]
fn names_are_known_however_they_are_written() {
    for pairs in [
        "NewNumber=33&OLDNUMBER=33",
        "new_number=33&old-number=33",
        "new=33&old=33",
        "New%4Eumber=33&+oldnumber=33",
        "oldnumber=33&\r\nnewnumber=33\r\n",
        "numbers=32&newnumber=33&oldnumber=33",
        "newnumber=33&oldnumber=33&new=yes&old=no&old=never",
    ] {
        assert_eq!(change("", pairs), updated("33"), "{pairs}");
    }
    assert_eq!(change("newnumber=33", "oldnumber=33"), updated("33"));
}

#[test]
fn values_are_read_as_those_of_forms_are() {
    for (value, number) in [
        (&b"K%C3%B8l+1"[..], "Køl 1"),
        (b"K%F8l%201", "Køl 1"),
        (b"K\xf8l 1", "Køl 1"),
        ("Køl 1".as_bytes(), "Køl 1"),
        (b"a%26b%3dc", "a&b=c"),
        (b"a=b", "a=b"),
        (b" 33\r\n", "33"),
        (b"50%", "50%"),
        (b"[33]", "[33]"),
        (b"[", "["),
        (b"[]", "[]"),
    ] {
        let body = [b"oldnumber=", value, b"&newnumber=", value].concat();
        assert_eq!(change("", &body), updated(number));
    }
}

#[test]
fn two_values_without_names_are_the_old_and_the_new_number() {
    assert_eq!(change("tenant=1", "33&33\r\n"), updated("33"));
    assert_eq!(change("", "33&34"), Change::Renumbered { old: "33".to_owned(), new: "34".to_owned() });
    assert_eq!(change("", "&33"), Change::Created { number: "33".to_owned() });
    assert_eq!(change("", "33&"), Change::Deleted { number: "33".to_owned() });
    for body in ["", "33", "33&33&33", "a=33&33", "{}", r#" {"name":"Smith & Co"}"#] {
        assert_eq!(wrong::<Change>("", body), "`newnumber` is neither in its URL nor in its data", "{body}");
    }
    assert_eq!(wrong::<Change>("newnumber=33", "33&33"), "`oldnumber` is neither in its URL nor in its data");
}

#[test]
fn a_web_hook_that_names_nothing_is_unreadable() {
    for (query, body) in [("newnumber=&oldnumber=", ""), ("", "old=+&new=%20"), ("", "&")] {
        assert_eq!(wrong::<Change>(query, body), "both numbers are blank, so nothing is named");
    }
    assert_eq!(wrong::<Change>("APISource=eConomicOrder", ""), "`newnumber` is neither in its URL nor in its data");
    assert_eq!(wrong::<Change>("oldnumber=33", ""), "`newnumber` is neither in its URL nor in its data");
    assert_eq!(wrong::<InvoiceBooked>("invoiceno=", "number=7"), "`invoiceno` is blank");
}

#[test]
fn what_is_said_twice_must_agree() {
    assert_eq!(change("newnumber=33&oldnumber=33", "oldnumber=33&newnumber=%333"), updated("33"));
    for body in ["newnumber=34", "newnumber=", "NewNumber=33&newnumber=034"] {
        let said = wrong::<Change>("newnumber=33&oldnumber=33", body);
        assert_eq!(said, "`newnumber` is there more than once, with different values");
    }
}

#[test]
fn a_merge_field_that_was_not_filled_in_is_no_number() {
    for (query, body) in [("newnumber=33&oldnumber=[OLDNUMBR]", ""), ("", "new=[newnumber]&old=33"), ("", "33&[NEWNO]")]
    {
        assert_eq!(wrong::<Change>(query, body), "a merge field was not filled in");
    }
    assert_eq!(wrong::<InvoiceBooked>("invoiceno=[NEWNUMBER]", ""), "a merge field was not filled in");
}

#[test]
fn other_web_hooks_have_their_own_fields() {
    let read = |query: &str, body: &str| {
        let hook = web_hook(query, body.as_bytes());
        (InvoiceBooked::try_from(&hook), InventoryUpdated::try_from(&hook), DayBookBooked::try_from(&hook))
    };
    assert_eq!(read("InvoiceNo=10001", "").0.unwrap().number, "10001");
    assert_eq!(read("", "number=10001").0.unwrap().number, "10001");
    assert_eq!(read("number=1&invoiceno=10001", "").0.unwrap().number, "10001");
    assert_eq!(read("", "number=33").1.unwrap().number, "33");
    let entries =
        DayBookBooked { number: "1".to_owned(), from_serial: "2041".to_owned(), to_serial: "2043".to_owned() };
    assert_eq!(read("", "book=1&from=2041&to=2043").2.unwrap(), entries);
    assert_eq!(read("daybookno=1&from=me", "fromserialno=2041&toserialno=2043").2.unwrap(), entries);
    assert_eq!(
        read("", "book=1&from=2041").2.unwrap_err().to_string(),
        "the web hook of e-conomic cannot be read: `toserialno` is neither in its URL nor in its data; its URL, or else \
         its data, should have `daybookno=[DAYBOOKNO]&fromserialno=[FROMSERIALNO]&toserialno=[TOSERIALNO]` in it, and its \
         type should be one with these merge fields"
    );
}
