/**
 * Imported before a test: from then on every device has WebGPU's default limits, whatever its adapter has and is asked
 * for.
 *
 * @module
 */
const { requestDevice } = GPUAdapter.prototype;

GPUAdapter.prototype.requestDevice = function (descriptor) {
  return requestDevice.call(this, { ...descriptor, requiredLimits: {} });
};
