//! The contract: every sentence in the doc comments of `Publish`, `Subscribe` and `Delivery::settle` is a test here,
//! and every backend passes all of them. What a backend cannot do by its nature it says by leaving a group out.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure here fails the test")]

mod child;
mod full;
mod queue;

mod events;
mod lifecycle;
mod publishing;
mod receiving;
mod settling;
mod suspects;

/// Makes a test of each promise, against one backend.
macro_rules! promises {
    ($queue:ty; $($file:ident: $($test:ident),+ $(,)?;)+) => {
        $(mod $file {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if <$queue as crate::queue::Queue>::is_tested() {
                    testbed::in_time("the end of the test", crate::$file::$test::<$queue>()).await;
                }
            })+
        })+
    };
}

/// What every queue promises, and almost every one.
macro_rules! every_queue {
    ($queue:ty) => {
        every_publisher!($queue);
        every_subscriber!($queue);
        queue_that_takes_copies!($queue);
    };
}

/// What every queue promises to whoever publishes.
macro_rules! every_publisher {
    ($queue:ty) => {
        promises! { $queue;
            publishing:
                ok_means_that_it_is_received_even_if_the_process_is_killed_the_next_moment,
                too_large_means_that_it_is_not_on_the_queue,
                the_largest_body_is_carried,
                after_timed_out_or_unreachable_the_same_id_may_be_sent_again,
                it_returns_by_the_deadline_while_the_queue_is_away,
                it_returns_by_the_deadline_while_the_queue_is_stalled,
                it_returns_at_once_when_the_deadline_has_passed,
                any_number_of_tasks_may_publish_at_once_and_one_failure_fails_no_other,
                a_dropped_future_affects_no_other_call,
                the_same_publisher_works_again_as_soon_as_the_queue_does,
                readiness_follows_the_last_word_of_the_queue,
                close_awaits_what_is_in_flight_and_fails_what_is_new;
            events:
                what_is_received_equals_what_was_published,
                arbitrary_events_are_received_as_published;
        }
    };
}

/// What a queue promises that keeps no watch for copies.
macro_rules! queue_that_takes_copies {
    ($queue:ty) => {
        mod copying {
            promises! { $queue;
                publishing: two_equal_publishes_are_two_events;
            }
        }
    };
}

/// What every queue promises to whoever subscribes.
macro_rules! every_subscriber {
    ($queue:ty) => {
        promises! { $queue;
            receiving:
                an_event_comes_again_until_it_is_settled_for_good,
                a_delivery_belongs_to_its_holder,
                at_most_prefetch_deliveries_are_held,
                a_queue_that_is_not_there_yet_is_waited_for,
                a_queue_that_is_away_is_waited_for,
                dropping_the_future_loses_nothing,
                an_event_that_outlives_the_ttl_is_not_received;
            suspects:
                events_that_a_dead_process_held_are_announced_and_not_received,
                none_means_that_none_is_waiting,
                crashes_blame_the_event_and_never_its_neighbours,
                a_suspect_settled_with_retry_is_an_ordinary_event_again,
                a_suspect_that_is_handed_back_comes_again;
            settling:
                ack_means_that_it_never_comes_again,
                retry_comes_again_as_the_next_attempt_and_not_before_the_delay,
                dead_letter_moves_it_with_the_reason,
                a_dead_letter_keeps_the_first_four_kibibytes_of_the_error,
                release_comes_again_at_once_as_the_same_attempt,
                a_delivery_that_is_dropped_is_handed_back,
                a_settlement_waits_while_the_queue_cannot_take_it,
                a_settlement_that_is_dropped_hands_the_event_back,
                a_delay_beyond_all_times_is_no_mistake,
                lease_lost_means_that_nothing_was_settled,
                first_received_is_when_a_consumer_first_received_it;
            lifecycle:
                pause_hands_back_what_was_not_returned,
                while_paused_next_waits_and_what_was_returned_stays_valid,
                state_says_what_the_subscriber_does,
                replay_moves_the_oldest_back_as_fresh_events,
                replay_of_nothing_moves_nothing,
                what_dies_during_a_replay_stays_dead_while_the_subscriber_goes_on,
                closing_ends_a_replay_and_nothing_is_lost,
                close_lets_what_is_still_held_come_again,
                after_close_every_settlement_has_reached_the_queue,
                a_dropped_subscriber_gives_everything_back;
        }
    };
}

/// What a queue promises that can refuse an event.
macro_rules! queue_that_refuses {
    ($queue:ty) => {
        mod refusing {
            promises! { $queue;
                publishing: refused_means_that_it_is_not_on_the_queue, what_is_refused_fails_alone;
            }
        }
    };
}

/// What a queue promises that keeps expired events as dead letters.
macro_rules! queue_that_keeps_what_expires {
    ($queue:ty) => {
        mod expiring {
            promises! { $queue;
                receiving: an_event_that_outlives_the_ttl_is_a_dead_letter;
            }
        }
    };
}

#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(all(feature = "rabbitmq", feature = "rabbitmq_http"))]
mod rabbitmq_http;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqs")]
mod sqs;
