use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::*;

const HOST: &str = "broker-0";
const ADDRESS: &str = "broker-0:9092";
const SECOND: Duration = Duration::from_secs(1);

/// A network, and both ends of a connection in it.
async fn pair(network: &MemoryNetwork) -> (MemoryStream, MemoryStream, MemoryListener) {
    let mut listener = network.listen(HOST, 9092).expect("the address is free");
    let near = network.connect(HOST, 9092).await.expect("somebody listens");
    (near, listener.accept().await.expect("it came"), listener)
}

/// What arrives within a second: the bytes, the end of file as nothing, or an error.
async fn heard(end: &mut MemoryStream) -> Option<Result<String, io::ErrorKind>> {
    let mut bytes = [0; 100];
    let read = timeout(SECOND, end.read(&mut bytes)).await.ok()?;
    Some(read.map(|count| String::from_utf8_lossy(&bytes[..count]).into_owned()).map_err(|error| error.kind()))
}

#[tokio::test(start_paused = true)]
async fn bytes_go_both_ways_and_a_dropped_listener_refuses() {
    let network = MemoryNetwork::new();
    assert_eq!(network.connect(HOST, 9092).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let (mut near, mut far, listener) = pair(&network).await;
    assert_eq!(network.listen(HOST, 9092).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    near.write_all(b"ping").await.unwrap();
    assert_eq!(heard(&mut far).await, Some(Ok("ping".into())));
    far.write_all(b"pong").await.unwrap();
    drop(far);
    assert_eq!(heard(&mut near).await, Some(Ok("pong".into())), "what was written before it went");
    assert_eq!(heard(&mut near).await, Some(Ok(String::new())), "an end that is gone is seen");
    assert_eq!(near.write(b"?").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(network.open_connections(), 1);
    drop((near, listener));
    assert_eq!(network.open_connections(), 0);
    assert_eq!(network.connect(HOST, 9092).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    network.listen(HOST, 9092).expect("the address is free again");
}

#[tokio::test(start_paused = true)]
async fn latency_and_bandwidth_take_virtual_time_and_nothing_overtakes() {
    let network = MemoryNetwork::new().latency(SECOND / 100..=SECOND / 10).bandwidth(10_000);
    let (mut near, mut far, _listener) = pair(&network).await;
    let begun = Instant::now();
    for number in 0..100 {
        near.write_all(&[number; 100]).await.unwrap();
    }
    let mut bytes = vec![0; 10_000];
    far.read_exact(&mut bytes).await.unwrap();
    assert!(bytes.iter().zip(0..).all(|(byte, at)| *byte == (at / 100) as u8), "in order");
    let took = begun.elapsed();
    assert!((SECOND / 100..SECOND / 4).contains(&took), "{took:?}: chunks are under way together");
}

#[tokio::test(start_paused = true)]
async fn a_full_connection_takes_no_more_until_it_is_read() {
    let network = MemoryNetwork::new();
    let (mut near, mut far, _listener) = pair(&network).await;
    let large = vec![7; 1 << 20];
    let writing = tokio::spawn(async move { near.write_all(&large).await.map(|()| near) });
    tokio::time::sleep(SECOND).await;
    assert!(!writing.is_finished());
    let mut bytes = vec![0; 1 << 20];
    far.read_exact(&mut bytes).await.unwrap();
    writing.await.unwrap().expect("it went on");
}

#[tokio::test(start_paused = true)]
async fn each_fault_does_what_it_says() {
    type Said = Option<Result<&'static str, io::ErrorKind>>;
    type Fault = fn(&MemoryNetwork);
    const RESET: Said = Some(Err(io::ErrorKind::ConnectionReset));
    let table: &[(&str, Fault, Said, Said, bool)] = &[
        ("nothing", |_| {}, Some(Ok("ask")), Some(Ok("answer")), true),
        ("a cut", |network| network.cut(ADDRESS), RESET, RESET, true),
        ("a cut of others", |network| network.cut("broker-1:9092"), Some(Ok("ask")), Some(Ok("answer")), true),
        ("a cut after two bytes", |network| network.cut_after(ADDRESS, Way::ToBroker, 2), Some(Ok("as")), RESET, true),
        ("a refusal", |network| network.refuse(ADDRESS), Some(Ok("ask")), Some(Ok("answer")), false),
        ("a stall one way", |network| network.stall(ADDRESS, Way::ToBroker), None, Some(Ok("answer")), false),
        ("a black hole", |network| network.swallow(ADDRESS, Way::Both), None, None, false),
        ("half a black hole", |network| network.swallow(ADDRESS, Way::FromBroker), Some(Ok("ask")), None, false),
        ("an abandoned client", |network| network.abandon(ADDRESS), Some(Ok("")), None, true),
    ];
    for (name, fault, asked, answered, connects) in table {
        let network = MemoryNetwork::new();
        let (mut near, mut far, mut listener) = pair(&network).await;
        fault(&network);
        let _ = near.write(b"ask").await;
        let _ = far.write(b"answer").await;
        let owned = |said: &Said| said.map(|said| said.map(str::to_owned));
        assert_eq!(heard(&mut far).await, owned(asked), "{name}: to the broker");
        assert_eq!(heard(&mut near).await, owned(answered), "{name}: to the client");
        let connected = timeout(SECOND, network.connect(HOST, 9092)).await;
        assert_eq!(matches!(connected, Ok(Ok(_))), *connects, "{name}: a new connection");
        network.heal();
        drop(connected);
        let mut near = network.connect(HOST, 9092).await.expect("healed");
        near.write_all(b"again").await.unwrap();
        let mut far = loop {
            let far = listener.accept().await.unwrap();
            if network.state().links.get(&far.number).is_some_and(|link| !link.has_lost(Side::Client)) {
                break far;
            }
        };
        assert_eq!(heard(&mut far).await, Some(Ok("again".into())), "{name}: healed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_reaches_those_who_wait_behind_a_stall() {
    let network = MemoryNetwork::new();
    let _listener = network.listen(HOST, 9092).unwrap();
    network.stall(ADDRESS, Way::Both);
    let connecting = network.connect(HOST, 9092);
    tokio::pin!(connecting);
    for _ in 0..10 {
        assert!(timeout(SECOND, &mut connecting).await.is_err(), "it waits");
    }
    assert_eq!(network.state().waiting.len(), 1, "once, however often it was looked at");
    let other = network.clone();
    let waiting = tokio::spawn(async move { other.connect(HOST, 9092).await });
    tokio::time::sleep(SECOND).await;
    assert!(!waiting.is_finished());
    network.refuse(ADDRESS);
    let refused = timeout(SECOND, waiting).await.expect("woken").unwrap();
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(network.state().waiting.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_stalled_arrives_and_what_was_swallowed_does_not() {
    let network = MemoryNetwork::new();
    let (mut near, mut far, _listener) = pair(&network).await;
    network.stall(ADDRESS, Way::Both);
    near.write_all(b"late").await.unwrap();
    assert_eq!(heard(&mut far).await, None);
    network.heal();
    assert_eq!(heard(&mut far).await, Some(Ok("late".into())));
    network.swallow(ADDRESS, Way::ToBroker);
    near.write_all(b"gone").await.unwrap();
    network.heal();
    near.write_all(b"deaf").await.unwrap();
    assert_eq!(heard(&mut far).await, None, "a stream has no holes");
    far.write_all(b"heard").await.unwrap();
    assert_eq!(heard(&mut near).await, Some(Ok("heard".into())), "the other way is sound");
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_every_delay() {
    let mut runs = Vec::new();
    for seed in [5, 5, 6] {
        fastrand::seed(seed);
        let network = MemoryNetwork::new().latency(Duration::ZERO..=SECOND);
        let (mut near, mut far, _listener) = pair(&network).await;
        let begun = Instant::now();
        let mut times = Vec::new();
        for _ in 0..10 {
            near.write_all(b"x").await.unwrap();
            far.read_u8().await.unwrap();
            times.push(begun.elapsed());
        }
        runs.push(times);
    }
    assert!(runs[0] == runs[1] && runs[0] != runs[2], "{runs:?}");
}
