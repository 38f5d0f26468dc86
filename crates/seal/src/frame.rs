//! What goes over the socket between the server and a worker: a JSON header, perhaps one binary part, and documents as descriptors.
//!
//! A frame is `u32` header length, `u64` part length (both little endian), header, part. Descriptors ride with the
//! first bytes, so that a file of 50 MiB is read by the worker and never copied through the socket. Both sides
//! believe no length before they have held it against a bound: a worker that was taken over must not be able to
//! make the server allocate.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};

use crate::types::WORK_BYTES_MAX;

/// The longest header, in bytes. Ink strokes and text positions are the largest.
pub const HEADER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most documents that one task may name.
pub const DOCUMENTS_MAX: usize = 100;
const PREFIX_BYTES: usize = 12;

/// A header and its binary part.
#[derive(Debug, Default)]
pub struct Frame {
    /// JSON.
    pub header: Vec<u8>,
    /// Empty if there is none.
    pub part: Vec<u8>,
}

fn prefix(frame: &Frame) -> io::Result<[u8; PREFIX_BYTES]> {
    check_lengths(frame.header.len() as u64, frame.part.len() as u64)?;
    let mut bytes = [0; PREFIX_BYTES];
    bytes[..4].copy_from_slice(&(frame.header.len() as u32).to_le_bytes());
    bytes[4..].copy_from_slice(&(frame.part.len() as u64).to_le_bytes());
    Ok(bytes)
}

fn lengths(prefix: [u8; PREFIX_BYTES]) -> io::Result<(usize, usize)> {
    let [a, b, c, d, part @ ..] = prefix;
    let (header, part) = (u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(part));
    check_lengths(u64::from(header), part)?;
    Ok((header as usize, part as usize))
}

fn check_lengths(header: u64, part: u64) -> io::Result<()> {
    if header > HEADER_BYTES_MAX as u64 || part > WORK_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {header} + {part} bytes is too long"),
        ));
    }
    Ok(())
}

fn too_many_documents() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("more than {DOCUMENTS_MAX} documents in one task"))
}

/// The worker's side: waits for a frame and the documents that came with it; `None` when the server has gone.
pub fn receive(socket: &UnixStream) -> io::Result<Option<(Frame, Vec<File>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DOCUMENTS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut start = [0; PREFIX_BYTES];
    let received = loop {
        let mut slices = [IoSliceMut::new(&mut start)];
        match rustix::net::recvmsg(socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?.bytes,
        }
    };
    if received == 0 {
        return Ok(None);
    }
    let mut documents = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            documents.extend(descriptors.map(|descriptor: OwnedFd| File::from(descriptor)));
        }
    }
    let mut stream = socket;
    stream.read_exact(&mut start[received..])?;
    let (header, part) = lengths(start)?;
    let mut frame = Frame { header: vec![0; header], part: vec![0; part] };
    stream.read_exact(&mut frame.header)?;
    stream.read_exact(&mut frame.part)?;
    Ok(Some((frame, documents)))
}

/// The worker's side: answers.
pub fn send(mut socket: &UnixStream, frame: &Frame) -> io::Result<()> {
    socket.write_all(&prefix(frame)?)?;
    socket.write_all(&frame.header)?;
    socket.write_all(&frame.part)
}

/// The server's side: asks.
pub async fn ask(socket: &mut tokio::net::UnixStream, header: Vec<u8>, documents: &[Arc<File>]) -> io::Result<()> {
    if documents.len() > DOCUMENTS_MAX {
        return Err(too_many_documents());
    }
    let frame = Frame { header, part: Vec::new() };
    let start = prefix(&frame)?;
    let sent = socket.async_io(Interest::WRITABLE, || send_with(socket, &start, documents)).await?;
    socket.write_all(&start[sent..]).await?;
    socket.write_all(&frame.header).await
}

fn send_with(socket: &tokio::net::UnixStream, start: &[u8], documents: &[Arc<File>]) -> io::Result<usize> {
    let descriptors: Vec<BorrowedFd<'_>> = documents.iter().map(|document| document.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DOCUMENTS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(too_many_documents());
    }
    Ok(rustix::net::sendmsg(socket, &[IoSlice::new(start)], &mut ancillary, SendFlags::NOSIGNAL)?)
}

/// The server's side: waits for the answer.
pub async fn answer(socket: &mut tokio::net::UnixStream) -> io::Result<Frame> {
    let mut start = [0; PREFIX_BYTES];
    socket.read_exact(&mut start).await?;
    let (header, part) = lengths(start)?;
    let mut frame = Frame { header: vec![0; header], part: Vec::new() };
    socket.read_exact(&mut frame.header).await?;
    // The part grows as it comes: a length alone must not cost the server memory.
    (&mut *socket).take(part as u64).read_to_end(&mut frame.part).await?;
    if frame.part.len() != part {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_carries_its_documents_and_the_answer_its_part() {
        let (server, worker) = tokio::net::UnixStream::pair().expect("a pair");
        let worker = worker.into_std().expect("a socket");
        worker.set_nonblocking(false).expect("blocking");
        let thread = std::thread::spawn(move || {
            let (frame, documents) = receive(&worker).expect("a frame").expect("not the end");
            let mut text = String::new();
            for mut document in &documents {
                document.read_to_string(&mut text).expect("text");
            }
            send(&worker, &Frame { header: frame.header, part: text.into_bytes() }).expect("sent");
            receive(&worker).expect("the end").is_none()
        });
        let mut server = server;
        let mut documents = Vec::new();
        for text in ["one ", "two"] {
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(text.as_bytes()).expect("written");
            io::Seek::rewind(&mut file).expect("rewound");
            documents.push(Arc::new(file));
        }
        ask(&mut server, b"hello".to_vec(), &documents).await.expect("asked");
        let frame = answer(&mut server).await.expect("answered");
        assert_eq!((frame.header.as_slice(), frame.part.as_slice()), (b"hello".as_slice(), b"one two".as_slice()));
        drop(server);
        assert!(thread.join().expect("joined"));
    }

    #[tokio::test]
    async fn a_length_beyond_the_bound_is_refused_before_anything_is_allocated() {
        let (mut server, mut worker) = tokio::net::UnixStream::pair().expect("a pair");
        worker.write_all(&[0xff; PREFIX_BYTES]).await.expect("written");
        let error = answer(&mut server).await.expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
