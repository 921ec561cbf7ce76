// Run before the page: word that a stream of answers has ended comes up to `window.closesLate` ms late, as on a line or
// in a browser that is busy. Receipts of events, which come by other connections, overtake it.
(() => {
  const fetchNow = window.fetch.bind(window),
    CLOSES = 'data: {"msg":"close_stream"';
  const late = () => new Promise(done => setTimeout(done, window.closesLate));
  window.fetch = async (address, ...rest) => {
    const answer = await fetchNow(address, ...rest);
    if (!String(address.url || address).includes("/queue/data") || !answer.ok) return answer;
    const reader = answer.body.getReader(),
      letters = new TextDecoder(),
      bytes = new TextEncoder();
    const body = new ReadableStream({
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) {
          controller.close();
          return;
        }
        const text = letters.decode(value, { stream: true }),
          at = text.indexOf(CLOSES);
        if (at < 0) {
          controller.enqueue(value);
          return;
        }
        if (at) controller.enqueue(bytes.encode(text.slice(0, at)));
        await late();
        controller.enqueue(bytes.encode(text.slice(at)));
      },
      cancel: reason => reader.cancel(reason),
    });
    return new Response(body, {
      status: answer.status,
      headers: answer.headers,
    });
  };
})();
