/**
 * Loaded before a task (`deno run --preload`): its device is lost at its 30th submission. WebGPU does not tell a program how
 * a device was lost, and `destroy()` is the one way that needs no broken driver.
 */
const SUBMISSIONS = 30;

const { requestDevice } = GPUAdapter.prototype;
GPUAdapter.prototype.requestDevice = async function (descriptor) {
  const device = await requestDevice.call(this, descriptor);
  const { queue } = device;
  let count = 0;
  queue.submit = function (buffers) {
    if (++count === SUBMISSIONS) device.destroy();
    Object.getPrototypeOf(queue).submit.call(queue, buffers);
  };
  return device;
};
