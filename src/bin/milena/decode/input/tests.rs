use super::*;

/// A Metadata request v1 for all topics, by a client without a name: key, version, correlation id 7, null, null.
const REQUEST: &str = "00030001 00000007 ffff ffffffff";
const BYTES: [u8; 14] = [0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

fn one(text: &str) -> Bytes {
    let mut pieces = pieces(text.as_bytes().to_vec(), false).unwrap_or_else(|why| panic!("{text:?}: {why}"));
    assert_eq!(pieces.len(), 1, "{text:?}");
    pieces.remove(0).bytes
}

#[test]
fn hex_is_read_in_the_forms_that_tools_print() {
    let forms = [
        REQUEST,
        "000300010000000\n7FFFFFFFFFFFF\r\n",
        "# a comment\n00 03 00 01 00 00 00 07 ff ff ff ff ff ff",
        "0000000e 0003000100000007ffffffffffff",
        "[0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 0x07, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]",
        r"\x00\x03\x00\x01\x00\x00\x00\x07\xff\xff\xff\xff\xff\xff",
        "00000000: 0003 0001 0000  ......\n00000006: 0007 ffff ffff  ......\n0000000c: ffff  ..\n",
        "00000000  00 03 00 01 00 00 00 07  ff ff ff ff ff  |.............|\n0000000d  ff  |.|\n0000000e\n",
        "0000000 00 03 00 01 00 00 00 07 ff ff ff ff ff\n0000015 ff\n0000016\n",
    ];
    for form in forms {
        assert_eq!(one(form)[..], BYTES, "{form:?}");
    }
}

#[test]
fn a_mistake_in_the_hex_is_named() {
    let table = [
        ("00 0", "half a byte is left after 1 bytes"),
        ("00 zz", "'z' after 1 bytes is no hex digit"),
        ("00000000  00 00  |..|\n*\n", "line 2: lines that repeat are left out"),
        ("0000000 0300 0100\n0000004\n", "line 1: these are two-byte numbers"),
        ("> 00\n> 0q\n", "line 2: 'q' after 0 bytes"),
        ("> 00\n00\n", "line 2: a line of a capture begins with"),
        (" \n", "there is no hex in the input"),
    ];
    for (text, expected) in table {
        let why = pieces(text.as_bytes().to_vec(), false).expect_err(text);
        assert!(why.contains(expected), "{text:?}: {why}");
    }
}

#[test]
fn bytes_are_a_chain_of_frames_or_one() {
    let frame = [&[0, 0, 0, 14], &BYTES[..]].concat();
    let read = |bytes: Vec<u8>| pieces(bytes, false).expect("bytes are always read");
    assert_eq!(read(BYTES.to_vec()), [Piece::new(Bytes::from_static(&BYTES))]);
    let two = read([&frame[..], &frame].concat());
    assert!(two.len() == 2 && two.iter().all(|piece| piece.bytes[..] == BYTES && !piece.is_cut));
    let cut = read([&frame[..], &frame[..10]].concat());
    assert!(cut.len() == 2 && cut[1].is_cut && cut[1].bytes[..] == BYTES[..6]);
    let lone = read(frame[..17].to_vec());
    assert!(lone.len() == 1 && lone[0].is_cut && lone[0].bytes[..] == BYTES[..13]);
    // A correlation id that could be the length of something is none where the whole reads.
    let response: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, b'h', 0, 0, 0x23, 0x84, 0, 0, 0, 0];
    assert_eq!(read(response.to_vec()), [Piece::new(Bytes::copy_from_slice(response))]);
    for end in 1..frame.len() {
        read(frame[..end].to_vec());
    }
}

#[test]
fn a_correlation_id_is_not_taken_for_a_length() {
    // Metadata v0: correlation id 19, one broker (1, "h", port 9092), no topics; 19 bytes follow the id.
    let hex = "00000013 00000001 00000001 000168 00002384 00000000";
    assert_eq!(one(hex).len(), 23);
    assert_eq!(one(&format!("00000017{hex}")).len(), 23);
}

#[test]
fn captures_and_followed_streams_say_the_direction() {
    let capture = format!("# java: Metadata v1\n> {}\n\n< 00000007 0000\n", REQUEST.replace(' ', ""));
    let found = pieces(capture.into_bytes(), false).expect("a capture");
    let what: Vec<_> = found.iter().map(|piece| (piece.direction, piece.bytes.len(), piece.line)).collect();
    assert_eq!(what, [(Some(Direction::Request), 14, Some(2)), (Some(Direction::Response), 6, Some(4))]);

    // A frame in two segments, its answer, and one that is cut off.
    let follow = "\n====\nFollow: tcp,raw\nFilter: tcp.stream eq 0\nNode 0: 127.0.0.1:40000\nNode 1: 127.0.0.1:9092\n\
                  0000000e00030001\n00000007ffffffffffff0000\n\t00000006000000070000\n====\n";
    let found = pieces(follow.as_bytes().to_vec(), false).expect("a stream");
    let what: Vec<_> = found.iter().map(|piece| (piece.direction, piece.bytes.len(), piece.is_cut)).collect();
    let (sent, received) = (Some(Direction::Request), Some(Direction::Response));
    assert_eq!(what, [(sent, 14, false), (received, 6, false), (sent, 0, true)]);
}

#[test]
fn what_names_itself_is_no_length() {
    // SaslAuthenticate 2 with a client id that is no text: its first four bytes are not a length of 2,359,298.
    let frame = b"\0\x24\0\x02\0\0\0\x07\0\x02\xff\xff\0\x0d\0a\0hunter2";
    assert!(names_a_request(frame) && !begins_like_a_request(&Bytes::from_static(frame)));
    assert_eq!(pieces(frame.to_vec(), false).map(|pieces| pieces[0].bytes.len()), Ok(frame.len()));
    // A response to the seventh request looks like Produce 7, and names nothing.
    assert!(!names_a_request(b"\0\0\0\x07") && !names_a_request(b"\0\x24\0\x63"));
}
