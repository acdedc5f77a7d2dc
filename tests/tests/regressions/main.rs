//! The defects of the programs that this project grew out of, each with a test that carries its id.
//!
//! D23, D24 and D57 are about the client program and have their tests with it, in `crates/cli`, as
//! has D53's default address. Some defects cannot be written here at all (D11's lost data needs a
//! loop that forgets to call the handler; D16's buffers belong to their owner): then the test looks
//! at what a user would have seen. D60, an undefined variable taken for an error of the network, is
//! no program at all: see `Forgotten` in `crates/fiveways/src/task/mod.rs`.
//!
//! Each can fail: `cargo xtask mutants` puts defects back and demands red tests.

mod forks;
mod streams;
mod servers;
mod waiting;
mod selectors;
mod limits;
mod handlers;

fiveways_tests::on_every_model! {
    streams:
        d01_a_silent_client_does_not_stop_the_others,
        d02_the_end_of_a_stream_is_seen_once_and_closes,
        d03_an_error_ends_its_own_connection_only,
        d04_short_writes_lose_nothing,
        d05_connections_that_close_in_one_batch_disturb_nothing,
        d06_all_dead_connections_are_removed,
        d07_requests_before_the_first_answer_are_all_answered,
        d08_sockets_of_clients_that_left_are_closed,
        d09_a_client_that_never_reads_costs_little,
        d10_messages_may_come_together_and_in_pieces,
        d11_what_is_received_reaches_the_handler,
        d13_a_client_that_does_not_read_its_greetings_is_held_back,
        d14_greets_once_and_then_once_for_each_line,
        d16_what_was_received_goes_with_its_connection,
        d17_characters_may_be_cut_by_reads,
        d20_an_urgent_byte_does_not_end_the_connection,
        d44_all_answers_come_after_the_client_has_ended_its_side,
        d49_a_flood_is_drained;
    servers:
        d12_an_idle_server_does_nothing,
        d15_accepting_does_not_starve_those_inside,
        d18_the_first_connection_is_served_and_can_be_printed,
        d19_the_limit_of_descriptors_is_survived,
        d21_descriptors_beyond_1023_are_survived,
        d22_a_silent_client_holds_its_place_for_a_limited_time,
        d25_the_peer_is_known_after_a_reset,
        d28_panics_are_told_from_disconnects,
        d29_sigterm_ends_a_server_well,
        d30_a_request_costs_the_same_among_many,
        d40_a_port_can_be_bound_again_at_once,
        d41_a_burst_waits_in_the_backlog,
        d42_silent_peers_are_probed_and_idle_ones_ended,
        d43_the_number_of_connections_is_limited,
        d47_serving_prints_nothing,
        d53_an_address_is_not_the_network,
        d55_a_connection_goes_to_exactly_one_of_many_acceptors,
        d55_listeners_may_share_a_port,
        d56_ipv6_is_served;
    limits:
        descriptors_that_run_out_later_are_awaited,
        a_connection_that_only_sends_is_not_idle,
        a_connection_on_which_nothing_moves_is_idle_for_all_its_clones,
        a_large_write_that_moves_slowly_is_not_idle,
        limits_are_told_apart;
    handlers:
        an_error_of_a_handler_is_heard,
        errors_that_nobody_hears_are_told_in_few_lines,
        a_scope_limits_every_wait_of_a_handler,
        an_answer_before_the_request_was_read_arrives,
        a_peer_that_takes_nothing_is_given_up,
        a_listener_that_fails_for_good_ends_the_server;
}

fiveways_tests::on_cooperative_models! {
    streams:
        d13_reading_goes_on_while_writing_waits,
        the_memory_of_a_crowd_is_given_back,
        d49_a_flood_starves_nobody;
    servers:
        d15_a_full_backlog_does_not_go_before_those_inside,
        d56_unix_sockets_are_served;
    waiting:
        d38_a_closed_clone_is_not_watched_any_more,
        d38_a_clone_that_was_closed_elsewhere_is_forgotten,
        d45_no_write_raises_sigpipe,
        d46_a_storm_of_signals_changes_no_wait,
        d48_an_exchange_makes_no_superfluous_wake_ups,
        d54_a_sleeping_worker_hears_other_threads,
        a_time_limit_survives_a_wake_up_for_nothing;
}
