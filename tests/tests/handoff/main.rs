//! Live connections are handed over: to other workers, to threads, to other processes; and what is
//! said about blocking and non-blocking sockets when that is done by hand.

mod threads;
mod passing;
mod frames;
mod claims;

fiveways_tests::on_cooperative_models! {
    threads:
        a_detached_connection_takes_its_unread_bytes_along,
        nobody_watches_a_detached_connection,
        work_on_a_thread_does_not_stop_the_worker,
        a_panic_of_the_work_gives_the_connection_back,
        late_work_gives_the_connection_back,
        a_deadline_holds_for_hand_offs_of_the_work,
        what_came_meanwhile_is_reported,
        a_peer_that_has_gone_meanwhile_is_noticed,
        a_reset_before_the_detach_is_told_once,
        unsent_output_goes_first,
        unsent_output_that_cannot_go_stays,
        a_cancelled_task_leaves_the_work_to_its_end,
        a_server_hands_over_and_serves_on;
    passing:
        a_connection_is_served_by_another_process_and_comes_back,
        many_connections_are_shared_by_two_processes,
        a_process_that_dies_with_a_connection_ends_it,
        the_senders_copy_is_closed,
        unix_streams_are_passed_too,
        a_full_channel_gives_the_connection_back,
        a_cancelled_send_keeps_the_connection,
        a_late_receive_leaves_the_channel_in_order,
        a_worker_that_watched_it_once_is_left_in_peace,
        connections_are_made_of_parts_and_taken_apart;
    frames:
        bad_frames_are_named_and_leak_nothing,
        a_deadline_in_the_middle_of_a_frame_ends_the_channel,
        any_bytes_and_descriptors_are_received_or_refused,
        a_receiver_without_descriptors_is_told,
        a_channel_that_was_read_ahead_is_refused;
}
