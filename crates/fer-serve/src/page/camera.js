// The camera: asking for it, which ones there are, and in plain words why there is none.

const SIZE = { width: { ideal: 1280 }, height: { ideal: 720 } };

/** Why this page cannot have a camera at all, or nothing. */
export function whyNoCamera() {
  if (navigator.mediaDevices?.getUserMedia) return "";
  if (window.isSecureContext) return "This browser gives no camera to pages. Pictures and videos work.";
  return "Browsers give a camera only to pages over HTTPS or from localhost: start fer serve with --tls-cert and --tls-key. "
    + "Pictures and videos work.";
}

/** The stream of one camera, or of the one that faces the user. */
export function openCamera(id) {
  const which = id ? { deviceId: { exact: id } } : { facingMode: "user" };
  return navigator.mediaDevices.getUserMedia({ video: { ...SIZE, ...which }, audio: false });
}

/** What went wrong with a camera, and what helps. */
export function cameraTrouble(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The camera was not allowed. Allow it for this page in the browser, then start it again.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No camera was found.";
    case "NotReadableError":
    case "AbortError":
      return "The camera does not start; another program may be using it.";
    default:
      return `The camera does not start: ${error.message}`;
  }
}

/** Fills the choice with the cameras there are; says whether there is a choice. */
export async function listCameras(select, current) {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const cameras = devices.filter(device => device.kind === "videoinput");
  select.replaceChildren(...cameras.map((camera, i) => new Option(camera.label || `Camera ${i + 1}`, camera.deviceId)));
  if (current) select.value = current;
  return cameras.length > 1;
}

/** Whether a track's camera faces the user, as those of laptops do, which do not say. */
export const facesUser = track => track.getSettings().facingMode !== "environment";
