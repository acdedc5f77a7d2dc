//! The conformance suite: one body per behaviour, run on every model.
//!
//! What a model promises differs in one place only: `blocking` serves one connection at a time, so
//! where a behaviour is about several at once its test asserts that order instead.

mod streams;
mod faults;
mod ends;
mod stops;
mod sharing;
mod crowds;
mod tasks;
mod fairness;
mod moves;
mod duplicates;
mod edges;
mod drivers;

use fiveways::Model;
use fiveways_tests::stage::LISTED;

fiveways_tests::on_every_model! {
    streams:
        a_slow_reader_holds_64_mib_back_and_gets_them_by_fill_buf,
        a_slow_reader_holds_64_mib_back_and_gets_them_by_read,
        half_close,
        one_byte_reads_and_writes,
        pipelined_requests,
        every_way_of_reading_goes_on_where_the_last_one_ended,
        vectored_writes,
        lent_bytes_stay_while_their_reader_waits,
        services;
    faults:
        a_reset_in_mid_stream_harms_nobody,
        silent_peers_delay_nobody,
        a_pool_smaller_than_its_clients_serves_all_in_the_end,
        a_panic_in_a_handler_harms_nobody,
        an_error_of_a_handler_is_counted,
        a_storm_of_connections_starves_nobody,
        clients_that_never_read_harm_nobody,
        reused_descriptors_get_nothing_of_their_predecessors;
    ends:
        a_read_ends_at_its_time_limit,
        a_write_ends_at_its_time_limit,
        idle_connections_are_ended,
        beyond_the_limit_connections_wait,
        beyond_the_limit_connections_are_refused,
        a_graceful_stop_lets_connections_finish,
        a_stop_ends_at_its_deadline,
        a_second_stop_forces,
        an_empty_server_stops_at_once;
    stops:
        a_signal_to_the_process_group_is_one_stop,
        new_clients_are_refused_while_a_stop_drains,
        connections_queued_at_a_stop_are_served,
        a_signal_right_after_the_address_drains,
        handlers_are_told_of_a_stop,
        a_leaver_lets_the_next_one_in_at_once,
        a_stop_closes_idle_connections,
        a_stop_closes_idle_connections_for_queued_ones,
        a_stop_lets_half_a_request_become_whole,
        a_stop_lets_a_request_become_whole_that_came_with_the_last,
        a_stop_lets_an_answer_be_computed;
    sharing:
        a_connection_wakes_one_process_and_all_get_their_share,
        what_is_queued_for_a_process_that_dies_is_served,
        a_shared_listener_is_refused_where_it_would_serve_one_process;
    crowds:
        five_thousand_at_once_heavy,
        descriptors_run_out_and_nobody_is_lost,
        processes_share_a_port_and_are_replaced,
        sigterm_drains_and_exits_well,
        a_second_signal_forces;
    duplicates:
        a_duplicate_reads_what_follows_the_header,
        the_original_reads_on_beside_its_duplicate,
        a_duplicate_on_a_plain_thread_reads_what_follows_the_header,
        an_extracted_descriptor_reads_what_follows_the_header,
        a_detached_connection_has_what_follows_the_header;
    edges:
        connections_reset_while_queued_bring_their_last_words,
        unix_connections_closed_while_queued_bring_their_last_words,
        a_socket_taken_over_in_non_blocking_mode_waits,
        a_linger_below_a_second_is_rounded_up,
        a_silent_address_leaves_time_for_the_next,
        a_connect_never_meets_itself;
}

fiveways_tests::on_cooperative_models! {
    tasks:
        a_cancelled_read_loses_nothing,
        a_cancelled_write_tells_the_truth,
        a_cancelled_accept_loses_no_connection,
        a_connect_can_be_cancelled_and_limited,
        cancelled_sleeps_and_joins_unwind,
        a_task_cancelled_before_it_begins_never_does,
        a_scope_with_a_time_limit_ends_every_wait,
        datagrams_are_echoed,
        unix_streams_are_echoed,
        unix_datagrams_are_echoed,
        a_name_is_looked_up_without_stalling_the_worker,
        two_workers_serve_each_other,
        a_busy_worker_does_not_stop_the_other;
    fairness:
        beside_yields,
        beside_yields_after_long_computations,
        beside_locks_that_are_free,
        beside_channels,
        beside_lines,
        beside_bulk_reads,
        beside_bulk_writes,
        beside_pipelined_requests,
        beside_the_output_of_a_child;
    moves:
        a_stream_moves_to_a_thread_with_bytes_read_ahead,
        a_stream_moves_between_workers_and_back,
        a_stream_that_waits_on_two_workers_in_turn_is_woken_on_both,
        a_stream_dropped_on_a_foreign_thread_ends_for_its_peer,
        a_stream_outlives_its_runtime,
        a_stream_moves_between_runtimes,
        clones_are_used_on_two_workers_at_once;
    duplicates:
        two_values_share_what_was_read_before_there_were_two,
        a_proxy_copies_both_ways_after_its_connect_line,
        a_duplicate_of_a_unix_stream_reads_what_follows_the_header;
    edges:
        a_lingering_close_blocks_no_worker,
        two_thousand_acceptors_cost_a_connection_nothing;
    drivers:
        a_driver_from_outside_sees_every_turn_and_control_call,
        a_driver_from_outside_owns_the_time,
        a_wait_that_blocks_the_thread_takes_real_time,
        a_seed_repeats_the_choices_of_select,
        a_driver_that_cannot_be_made_is_the_error_of_build;
}

#[test]
fn every_model_there_is_has_its_tests() {
    assert_eq!(LISTED, Model::ALL);
}
