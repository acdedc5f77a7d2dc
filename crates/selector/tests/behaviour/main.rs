//! One behaviour suite, run for every selector.
//!
//! Each behaviour is one function over a [`Kind`]; the list at the end makes one test of each
//! behaviour for each kind. Where kinds differ, the function checks [`Capabilities`] and asserts
//! accordingly.

mod support;
mod limits;
mod readiness;
mod registration;
mod waiting;

use fiveways_selector::Kind;

/// Makes a test for each kind of each behaviour.
macro_rules! behaviours {
    ($($module:ident: $($name:ident),+ $(,)?;)+) => {
        $($(
            mod $name {
                use super::*;

                #[test]
                fn select() {
                    $module::$name(Kind::Select);
                }
                #[test]
                fn poll() {
                    $module::$name(Kind::Poll);
                }
                #[test]
                fn epoll() {
                    $module::$name(Kind::Epoll);
                }
                #[test]
                fn epoll_et() {
                    $module::$name(Kind::EpollEt);
                }
                #[test]
                fn signal() {
                    $module::$name(Kind::Signal);
                }
                #[test]
                fn nonblocking() {
                    $module::$name(Kind::Nonblocking);
                }
            }
        )+)+
    };
}

behaviours! {
    readiness:
        data_makes_readable,
        a_finished_handshake_makes_a_listener_readable_c52,
        only_what_has_room_is_writable_c51,
        room_that_comes_later_is_reported,
        a_finished_connect_is_writable,
        urgent_data_is_priority_and_not_an_error_d20,
        a_half_closed_peer_is_a_read_hangup,
        a_closed_peer_is_a_hangup,
        a_reset_is_an_error,
        what_is_not_drained_comes_by_level_again_and_by_edge_once,
        blocking_descriptors_are_watched_too_c57,
        a_pipe_is_watched_like_a_socket;
    registration:
        a_second_registration_is_refused,
        an_unknown_descriptor_is_not_found,
        the_reserved_token_is_refused,
        modify_changes_interest_and_token,
        modify_reports_what_is_ready_already,
        no_interest_reports_no_readiness,
        a_deregistered_descriptor_is_not_reported,
        a_reused_number_gets_no_stale_event_d38,
        a_number_closed_behind_our_back_harms_nobody_d05,
        regular_files_are_ready_or_refused_as_stated,
        the_length_counts_registrations_d27;
    waiting:
        a_deadline_is_kept_when_nothing_happens_c50,
        a_passed_deadline_looks_once,
        an_empty_selector_sleeps_until_the_deadline,
        signals_do_not_shorten_or_lengthen_a_wait_d46,
        a_wake_from_another_thread_ends_a_wait_d54,
        a_wake_before_the_wait_is_not_lost_d54,
        many_wakes_end_one_wait_d54,
        wakes_and_events_come_together,
        every_wake_of_a_ping_pong_arrives;
    limits:
        two_thousand_descriptors_are_all_reported,
        a_small_buffer_starves_nobody,
        a_descriptor_over_1023_is_refused_by_select_and_taken_by_others_d21;
}
