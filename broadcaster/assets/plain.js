// Where no WebSocket gets through: what those get who have no scripts, with a word about it. The picture
// is an ordinary stream, which the browser shows by itself.

// Why there is no picture, if the server says so, is no more than this long.
const MOST_TEXT = 200;

export function plain(main, markup) {
  // The server's own, as it stands in the page.
  main.innerHTML = markup;
  const note = document.createElement("p");
  note.className = "plain-note";
  const usual =
    "No WebSocket gets through to the server: a proxy in between may not let it. " +
    "So there are neither figures nor replay here, and one channel at a time.";
  note.textContent = usual;
  main.querySelector("h1").after(note);
  const picture = main.querySelector("img");
  const address = picture.src;
  // Out of sight the stream is closed.
  const settle = () => {
    if (document.hidden) picture.removeAttribute("src");
    else picture.src = address;
  };
  picture.onload = () => (note.textContent = usual);
  picture.onerror = async () => {
    if (picture.hasAttribute("src")) note.textContent = await refusal(address);
  };
  document.addEventListener("visibilitychange", settle);
  if (document.hidden) settle();

  return {
    isPlain: true,
    tick() {},
    close() {
      document.removeEventListener("visibilitychange", settle);
      picture.onload = picture.onerror = null;
      // An image that is only taken out of the page may go on loading.
      picture.removeAttribute("src");
    },
  };
}

// What the server says instead of sending the stream.
async function refusal(address) {
  const end = new AbortController();
  try {
    const answer = await fetch(address, { cache: "no-store", signal: end.signal });
    if (!answer.ok) return (await answer.text()).trim().slice(0, MOST_TEXT);
    return "The stream broke off.";
  } catch {
    return "No connection.";
  } finally {
    end.abort();
  }
}
