//! SCRAM against RFC 7677's vector, and against a server made here.

use super::*;

const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn client(hash: Hash, username: &str, password: &str) -> Scram {
    Scram::new(hash, username, Secret(password.to_owned()), false, NONCE.to_owned()).expect("valid")
}

fn respond(scram: &mut Scram, challenge: &str) -> String {
    match scram.step(challenge.as_bytes()).expect("accepted") {
        Step::Respond(bytes) => String::from_utf8(bytes).expect("UTF-8"),
        Step::Done => panic!("over too early"),
    }
}

fn failure(scram: &mut Scram, challenge: &[u8]) -> String {
    let error = scram.step(challenge).map(|_| ()).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Authentication);
    error.to_string()
}

#[test]
fn rfc_7677_word_for_word() {
    let mut scram = client(Hash::Sha256, "user", "pencil");
    assert_eq!(scram.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    assert!(scram.is_slow());
    let response = respond(&mut scram, SERVER_FIRST);
    let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    assert_eq!(response, format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="));
    assert!(!scram.is_slow());
    assert!(scram.step(SERVER_FINAL.as_bytes()).is_ok_and(|step| step == Step::Done));
    failure(&mut scram, SERVER_FINAL.as_bytes());
}

#[test]
fn a_wrong_server_signature_is_not_believed() {
    let wrong =
        ["v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "v=6rriTRBi23WpRR/wtup+mA==", "v=", "v=!", "", "x=1"];
    for message in wrong {
        let mut scram = client(Hash::Sha256, "user", "pencil");
        scram.first();
        respond(&mut scram, SERVER_FIRST);
        let error = failure(&mut scram, message.as_bytes());
        assert!(error.contains("signature"), "{message}: {error}");
    }
}

#[test]
fn an_error_of_the_server_is_passed_on() {
    let mut scram = client(Hash::Sha256, "user", "pencil");
    scram.first();
    respond(&mut scram, SERVER_FIRST);
    assert_eq!(failure(&mut scram, b"e=invalid-proof"), "the broker ended SASL SCRAM-SHA-256 with `invalid-proof`");
}

#[test]
fn hostile_first_messages_are_refused() {
    let salt = "s=W22ZaJ0SNY7soEsUEjb6gQ==";
    let table = [
        (String::new(), "lacks `r=`"),
        (format!("m=ext,r={NONCE}x,{salt},i=4096"), "lacks `r=`"),
        (format!("r={NONCE}x"), "lacks `s=`"),
        (format!("r={NONCE}x,{salt}"), "lacks `i=`"),
        (format!("r={NONCE},{salt},i=4096"), "does not extend ours"),
        (format!("r=x{NONCE},{salt},i=4096"), "does not extend ours"),
        (format!("r={NONCE}x,s=,i=4096"), "salt is empty"),
        (format!("r={NONCE}x,s=!!,i=4096"), "not base64"),
        (format!("r={NONCE}x,{salt},i=4095"), "4096 to 1000000"),
        (format!("r={NONCE}x,{salt},i=0"), "4096 to 1000000"),
        (format!("r={NONCE}x,{salt},i=1000001"), "4096 to 1000000"),
        (format!("r={NONCE}x,{salt},i=99999999999"), "not a number"),
        (format!("r={NONCE}x,{salt},i=-1"), "not a number"),
        ("x".repeat(MAX_MESSAGE + 1), "over the limit"),
    ];
    for (message, expected) in table {
        let mut scram = client(Hash::Sha256, "user", "pencil");
        scram.first();
        let error = failure(&mut scram, message.as_bytes());
        assert!(error.contains(expected), "{message}: {error}");
    }
    let mut scram = client(Hash::Sha256, "user", "pencil");
    scram.first();
    assert!(failure(&mut scram, &[0xff, 0xfe]).contains("not UTF-8"));
}

#[test]
fn a_cut_anywhere_is_an_error_not_a_panic() {
    for cut in 0..SERVER_FIRST.len() - 3 {
        let mut scram = client(Hash::Sha256, "user", "pencil");
        scram.first();
        failure(&mut scram, &SERVER_FIRST.as_bytes()[..cut]);
    }
    for cut in 0..SERVER_FINAL.len() {
        let mut scram = client(Hash::Sha256, "user", "pencil");
        scram.first();
        respond(&mut scram, SERVER_FIRST);
        failure(&mut scram, &SERVER_FINAL.as_bytes()[..cut]);
    }
}

#[test]
fn names_are_escaped_as_kafka_does() {
    let table = [
        ("1,2", "1=2C2"),
        ("user=A", "user=3DA"),
        ("user==B", "user=3D=3DB"),
        ("user,1", "user=2C1"),
        (",", "=2C"),
        ("=", "=3D"),
        (",=", "=2C=3D"),
        ("==", "=3D=3D"),
        ("plain", "plain"),
    ];
    for (name, escaped) in table {
        let mut scram = client(Hash::Sha256, name, "p");
        assert_eq!(scram.first(), format!("n,,n={escaped},r={NONCE}").into_bytes());
    }
}

#[test]
fn a_delegation_token_is_announced() {
    let password = Secret("hmac".to_owned());
    let mut scram = Scram::new(Hash::Sha512, "token-id", password, true, NONCE.to_owned()).expect("valid");
    assert_eq!(scram.first(), format!("n,,n=token-id,r={NONCE},tokenauth=true").into_bytes());
}

#[test]
fn no_nonce_is_used_twice() {
    let nonces: Vec<_> = (0..100).map(|_| fresh_nonce().expect("random")).collect();
    for (index, nonce) in nonces.iter().enumerate() {
        assert!(nonce.len() >= 32 && !nonce.contains(',') && !nonces[..index].contains(nonce));
    }
}

#[test]
fn both_hashes_agree_with_a_server_of_the_rfc() {
    for (hash, iterations) in [(Hash::Sha256, 4096), (Hash::Sha512, 4096), (Hash::Sha512, 8192)] {
        let server = Server { hash, password: "pässword", salt: b"0123456789abcdef", iterations };
        let mut right = client(hash, "al,ice", "pässword");
        let mut wrong = client(hash, "al,ice", "password");
        assert_eq!(server.talk(&mut right), Ok(()));
        assert_eq!(server.talk(&mut wrong), Err("invalid-proof".to_owned()));
    }
}

/// The server's side as RFC 5802 §3 writes it: it stores `StoredKey` and `ServerKey`, recovers the client's key from
/// the proof and hashes it, the other way round than the client does.
struct Server {
    hash: Hash,
    password: &'static str,
    salt: &'static [u8],
    iterations: u32,
}

impl Server {
    fn talk(&self, client: &mut Scram) -> Result<(), String> {
        let salted = self.hash.derive(self.password.as_bytes(), self.salt, self.iterations);
        let stored_key = self.hash.digest(&self.hash.hmac(&salted, b"Client Key").expect("hmac"));
        let server_key = self.hash.hmac(&salted, b"Server Key").expect("hmac");

        let first = String::from_utf8(client.first()).expect("UTF-8");
        let bare = first.strip_prefix("n,,").expect("no channel binding");
        let nonce = bare.rsplit_once("r=").expect("nonce").1;
        let reply = format!("r={nonce}%more,s={},i={}", BASE64.encode(self.salt), self.iterations);
        let last = respond(client, &reply);

        let (without_proof, proof) = last.rsplit_once(",p=").expect("proof");
        assert_eq!(without_proof, format!("c=biws,r={nonce}%more"));
        let auth_message = format!("{bare},{reply},{without_proof}");
        let signature = self.hash.hmac(&stored_key, auth_message.as_bytes()).expect("hmac");
        let proof = BASE64.decode(proof).expect("base64");
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(proof, signature)| proof ^ signature).collect();
        if self.hash.digest(&client_key) != stored_key {
            return Err("invalid-proof".to_owned());
        }
        let verifier = self.hash.hmac(&server_key, auth_message.as_bytes()).expect("hmac");
        let done = client.step(format!("v={}", BASE64.encode(verifier)).as_bytes()).expect("accepted");
        assert!(done == Step::Done);
        Ok(())
    }
}
