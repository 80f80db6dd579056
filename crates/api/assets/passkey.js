"use strict";
// Passkeys: signing in, signing an answer, making a new one. The server makes every challenge and checks everything again.
(() => {
  if (!window.isSecureContext || !window.PublicKeyCredential) return;
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) => {
    const chars = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
    return btoa(chars).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };
  const listed = (ids) => ids.map((id) => ({ type: "public-key", id: bytes(id) }));
  const sign = async (ask, ids) => {
    const got = await navigator.credentials.get({ publicKey: {
      challenge: bytes(ask.challenge), rpId: ask.relying_party, allowCredentials: listed(ids), userVerification: "required",
    } });
    const made = got.response;
    return JSON.stringify({ nonce: ask.nonce, credential: text(got.rawId), assertion: {
      authenticator_data: text(made.authenticatorData), client_data: text(made.clientDataJSON), signature: text(made.signature),
    } });
  };
  const make = async (ask) => {
    const made = (await navigator.credentials.create({ publicKey: {
      challenge: bytes(ask.challenge), rp: { id: ask.relyingParty, name: "Countersign" },
      user: { id: bytes(ask.handle), name: ask.person, displayName: ask.person },
      pubKeyCredParams: [{ type: "public-key", alg: -7 }, { type: "public-key", alg: -257 }],
      excludeCredentials: listed(JSON.parse(ask.known)), attestation: "none",
      authenticatorSelection: { residentKey: "required", requireResidentKey: true, userVerification: "required" },
    } })).response;
    return JSON.stringify({
      authenticator_data: text(made.getAuthenticatorData()), client_data: text(made.clientDataJSON), public_key: text(made.getPublicKey()),
    });
  };
  // Sends the form once the device has done its part. Nothing is sent if it did not.
  const before = (form, does) => {
    let busy = false;
    form.addEventListener("submit", async (event) => {
      // A button that leads elsewhere, such as back, signs nothing.
      if (event.submitter?.hasAttribute("formaction")) return;
      event.preventDefault();
      if (busy) return;
      busy = true;
      const place = form.querySelector("[data-said]");
      try {
        await does();
        form.submit();
      } catch (error) {
        busy = false;
        if (place) place.textContent = `Your device did not sign (${error.name}). Nothing was sent; try again.`;
      }
    });
  };
  for (const form of document.querySelectorAll("form[data-passkey='sign-in']")) {
    form.parentElement.hidden = false;
    const { base } = form.dataset;
    if (!form.elements.next.value) {
      form.elements.next.value = location.pathname.slice(base.length).replace(/\/(confirm|review)$/, "");
    }
    before(form, async () => {
      const answer = await fetch(`${base}/signin/passkey`, { headers: { accept: "application/json" } });
      if (!answer.ok) throw Object.assign(new Error(), { name: `${answer.status}` });
      form.elements.signed.value = await sign(await answer.json(), []);
    });
  }
  for (const field of document.querySelectorAll("input[data-passkey='answer']")) {
    const ask = field.dataset;
    before(field.form, async () => {
      const challenge = { nonce: ask.nonce, challenge: ask.challenge, relying_party: ask.relyingParty };
      field.value = await sign(challenge, JSON.parse(ask.credentials));
    });
  }
  for (const form of document.querySelectorAll("form[data-passkey='enrolment']")) {
    form.parentElement.hidden = false;
    before(form, async () => {
      form.elements.made.value = await make(form.dataset);
    });
  }
})();
