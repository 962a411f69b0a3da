// Fetch the page every few seconds and swap its state in; say so when the server does not answer.
const SECONDS = 3;

async function refresh() {
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href, { redirect: "manual", signal: AbortSignal.timeout(10000) });
      if (answer.type === "opaqueredirect") return location.reload(); // logged out
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.getElementById("state").replaceWith(document.adoptNode(page.getElementById("state")));
    } catch {
      const link = document.getElementById("link");
      link.textContent = "not reachable, shown as it was";
      link.className = "alarm";
    }
  }
  setTimeout(refresh, SECONDS * 1000);
}

setTimeout(refresh, SECONDS * 1000);
